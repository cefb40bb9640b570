"""Heitz et al.'s sliced Wasserstein loss: a texture of the style alone, at the content's size.

    nstjax run CONTENT STYLE --preset sliced-wasserstein

Style at the twelve convolutions of blocks 1 to 4, with equal weights: features sorted along random directions, as many
as a layer has channels, drawn again at every step; average pooling, reflected edges; 4,096 iterations of L-BFGS with
steps of length 1, from the mean colour and normal noise of standard deviation 0.01; pictures keep their sizes. Only the
content's size is used. Weighted for the caffe flavour, with another loss weight for torchvision's; down to
block4_conv4, which VGG16 lacks.

Source: https://github.com/tchambon/A-Sliced-Wasserstein-Loss-for-Neural-Texture-Synthesis at commit 491ee6d; Heitz,
Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis", 2021.

Differs from the source:

- Its result has the size of the example or a whole multiple; here any size, with the example's features resampled.
"""

import nstjax

config = nstjax.Config(
    layers={
        "style": (
            *(f"block1_conv{i}" for i in (1, 2)),
            *(f"block2_conv{i}" for i in (1, 2)),
            *(f"block3_conv{i}" for i in (1, 2, 3, 4)),
            *(f"block4_conv{i}" for i in (1, 2, 3, 4)),
        )
    },
    loss_weights={"style": 1.0},
    sizes=(),
    pooling="average",
    padding="reflect",
    init="style-mean",
    init_deviation=0.01,
    optimiser="lbfgs",
    line_search=False,
    memory=100,
    steps=64 * 64,
    snapshot_every=64,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's (experiments/studies/flavours.py).
# The style, quadratic in them, gets 100^2 times its weight.
flavours = {"torchvision": {"loss_weights": {"style": 1e4}}}

version = 3


def terms(config):
    """Return the sliced Wasserstein distance of features."""
    return (
        nstjax.style_term(
            config.layers["style"],
            nstjax.statistics.feature_vectors,
            nstjax.layer_sum(nstjax.losses.SlicedWasserstein()),
        ),
    )
