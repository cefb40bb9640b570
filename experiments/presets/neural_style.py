"""Johnson's neural-style with its defaults: L-BFGS from noise.

    nstjax run CONTENT STYLE --preset neural-style

Content at relu4_2, style at the first convolution of each block, by Gram matrices ``F F^T / (C N)``; mean squares,
summed over the layers; weights 5 and 100; total variation 0.001 on the 0-255 scale; 999 steps of L-BFGS with 100
corrections and of length 1, after which the source's 1,000th evaluation writes the picture; the long side becomes 512
pixels, also if that enlarges the picture. Weighted for the caffe flavour, with other loss weights for torchvision's;
down to block5_conv1. The source's Adam is
``--optimiser adam --learning-rate 0.0392 --epsilon 2.55e-6 --early-epsilon`` (10 / 255, 1e-8 * 255), its normalised
gradients are ``--normalise-gradients``.

Source: https://github.com/jcjohnson/neural-style, ``neural_style.lua`` at commit 07c4b82.

Differs from the source:

- It multiplies pictures by 256 although its mean pixel and its network expect 255; here they are multiplied by 255.
- Its total variation is a gradient without a value; here it is the function that has this gradient, and part of the
  total.
- Its pooling keeps an odd last row or column; here it is dropped. Sides that are multiples of 16 have none.
- It enlarges by bilinear interpolation between the centres of the outermost pixels; here between their edges.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block4_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 5.0, "style": 100.0, "tv": 1e-3},
    sizes=(512,),
    enlarge=True,
    resampling="area",
    init="mean",
    init_deviation=0.001 / 255,
    **nstjax.units.from_255("lbfgs", learning_rate=1),
    memory=100,
    steps=999,
    snapshot_every=100,
    log_every=50,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^2 times its weight, the style, quadratic in Gram matrices, 100^4 times.
flavours = {"torchvision": {"loss_weights": {"content": 5e4, "style": 1e10}}}

version = 3


def total_variation(picture):
    """Return half the squared neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_half_squared(255 * picture)


def terms(config):
    """Return mean squares of features and of Gram matrices, and squared total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_sum(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram_per_element, nstjax.layer_sum(nstjax.losses.mean_squared)
        ),
        nstjax.PictureTerm("tv", total_variation),
    )
