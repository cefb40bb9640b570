"""Heitz et al.'s sliced Wasserstein loss: a texture of the style alone, of the content's size.

    nstjax run CONTENT STYLE --preset sliced-wasserstein

Style at the twelve convolutions of blocks 1 to 4, all of one weight: sorted features along as many random directions
as a layer has channels, drawn anew at every step; average pooling, reflected edges; 4,096 iterations of L-BFGS from the
mean colour and normal noise of deviation 0.01; pictures keep their own sizes. The content gives the size and nothing
else. Meant for the caffe flavour, down to block4_conv4.

Source: https://github.com/tchambon/A-Sliced-Wasserstein-Loss-for-Neural-Texture-Synthesis at commit 491ee6d; Heitz,
Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis", 2021.

Differs from the source:

- it starts from the example's mean colour, here from that of ImageNet's pictures.
- its L-BFGS takes steps of length 1 as they come, with new directions in each; here a line search chooses their length,
  among losses of the same directions.
- its L-BFGS forgets nothing within 64 iterations and is begun anew after them; here it goes on, with 64 corrections.
- its result is as large as the example or a whole multiple; here of any size, the example's features being resampled.
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
    size=None,
    pooling="average",
    padding="reflect",
    init="mean",
    init_deviation=0.01,
    optimiser="lbfgs",
    memory=64,
    steps=64 * 64,
    snapshot_every=64,
)

version = 1


def terms(config):
    """The sliced Wasserstein distance of features."""
    return (
        nstjax.style_term(
            config.layers["style"],
            nstjax.statistics.feature_vectors,
            nstjax.layer_sum(nstjax.losses.SlicedWasserstein()),
        ),
    )
