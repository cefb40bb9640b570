"""Crowson's style-transfer-pytorch: Wasserstein-2 style, coarse to fine, the average of the iterates.

    nstjax run CONTENT STYLE --preset style-transfer-pytorch

Content at relu4_2, mean squares, weight 0.015; style at the first convolution of each block, squared Wasserstein-2
distance between the Gaussians of their features, weights 256, 64, 16, 4, 1 over their sum; nine-point total
variation, weight 2; Adam with learning rate 0.02 and beta2 0.99, clamped to [0, 1]; long sides 128, 181, 256, 362, 512
with 1,000 steps at the first and 500 at each later one; the averaged picture and Adam's moments carry over from size to
size; average decay 0.99. Edge padding. Weighted for the torchvision flavour, with other loss weights for caffe's; down
to block5_conv1.

Source: https://github.com/crowsonkb/style-transfer-pytorch, ``style_transfer.py`` at commit e7e2c71.

Differs from the source:

- It enlarges small contents but not small styles; here both are enlarged.
"""

import nstjax
from nstjax.network.architecture import parse_layer

config = nstjax.Config(
    layers={
        "content": ("block4_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 0.015, "style": 1.0, "tv": 2.0},
    sizes="128:512",
    steps=(1000, 500),
    enlarge=True,
    smaller_from="original",
    resampling="bicubic",
    padding="edge",
    learning_rate=0.02,
    beta2=0.99,
    clamp=True,
    keep="average",
    average_decay=0.99,
)

flavour = "torchvision"

# In blocks 1 to 3 the activations of caffe weights are about a hundred times larger (experiments/studies/flavours.py).
# Content and style, both quadratic in them, get 100^-2 of their weights.
flavours = {"caffe": {"loss_weights": {"content": 1.5e-6, "style": 1e-4}}, "self-taught": {}}

version = 3


def get_layer_weight(name):
    """Return the weight of a style layer: 256, 64, 16, 4, 1 from the first block to the last."""
    return 4.0 ** (5 - parse_layer(name).block)


def terms(config):
    """Return mean squares of features, Wasserstein-2 between their Gaussians, and squared total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"],
            nstjax.statistics.moments,
            nstjax.layer_mean(
                nstjax.losses.wasserstein_gaussian,
                weights={name: get_layer_weight(name) for name in config.layers["style"]},
            ),
        ),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_nine_point),
    )
