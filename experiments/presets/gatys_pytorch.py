"""Gatys' own PyTorch notebook: L-BFGS from the content, at 512 and then at 800 pixels.

    nstjax run CONTENT STYLE --preset gatys-pytorch

Content at relu4_2, style at the first convolution of each block, by Gram matrices ``F F^T / N``; mean squares, those
of each style layer divided by its squared number of channels (64, 128, 256, 512, 512); weights 1 and 1,000; no total
variation; 520 iterations of L-BFGS with steps of length 1 and the short side at 512 pixels, then 220 at 800 from the
enlarged result: the source asks for 500 and 200, and ends with the first round of 20 that goes beyond. Weighted for
the caffe flavour, with other loss weights for torchvision's; down to block5_conv1.

Source: https://github.com/leongatys/PytorchNeuralStyleTransfer, ``NeuralStyleTransfer.ipynb``.

Differs from the source:

- It rounds pictures that it resizes to 8 bits, and the first result before that is enlarged.
"""

import nstjax
from nstjax.network.architecture import VGG19, parse_layer

config = nstjax.Config(
    layers={
        "content": ("block4_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 1.0, "style": 1e3},
    sizes=(512, 800),
    size_by="short",
    steps=(520, 220),
    enlarge=True,
    smaller_from="original",
    clip_sizes=True,
    resampling="bilinear",
    **nstjax.units.from_255("lbfgs", learning_rate=1),
    memory=100,
    log_every=50,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^2 times its weight, the style, quadratic in Gram matrices, 100^4 times.
flavours = {"torchvision": {"loss_weights": {"content": 1e4, "style": 1e11}}}

version = 3


def count_channels(name):
    """Return the number of channels of a VGG layer."""
    return VGG19.blocks[parse_layer(name).block - 1][1]


def terms(config):
    """Return mean squares of features, and of Gram matrices over their squared numbers of channels."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_sum(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"],
            nstjax.statistics.gram,
            nstjax.layer_sum(
                nstjax.losses.mean_squared,
                weights={name: count_channels(name) ** -2 for name in config.layers["style"]},
            ),
        ),
    )
