"""Heitz et al.'s sliced Wasserstein loss: a texture of the style alone, at the content's size.

    nstjax run CONTENT STYLE --preset sliced-wasserstein

Style at the twelve convolutions of blocks 1 to 4, with equal weights: features sorted along random directions, as many
as a layer has channels, drawn again at every step; average pooling, reflected edges; 4,096 iterations of L-BFGS from
the mean colour and normal noise of standard deviation 0.01; pictures keep their sizes. Only the content's size is used.
Meant for the caffe flavour, down to block4_conv4.

Source: https://github.com/tchambon/A-Sliced-Wasserstein-Loss-for-Neural-Texture-Synthesis at commit 491ee6d; Heitz,
Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis", 2021.

Differs from the source:

- It starts from the mean colour of the example; here from that of ImageNet's pictures.
- Its L-BFGS takes steps of length 1 without a line search, with new directions in each; here a line search chooses the
  length, among losses of the same directions.
- Its L-BFGS keeps all corrections for 64 iterations and then restarts; here it continues, with 64 corrections.
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
    """Return the sliced Wasserstein distance of features."""
    return (
        nstjax.style_term(
            config.layers["style"],
            nstjax.statistics.feature_vectors,
            nstjax.layer_sum(nstjax.losses.SlicedWasserstein()),
        ),
    )
