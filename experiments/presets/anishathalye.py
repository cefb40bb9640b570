"""Athalye's neural-style with its defaults: Adam from noise.

    nstjax run CONTENT STYLE --preset anishathalye

Content at relu4_2, style at the first convolution of each block, by Gram matrices ``F F^T / (C N)``; mean squares,
averaged over the layers; weights 5 and 500; total variation ``mean dx^2 + mean dy^2`` on the 0-255 scale, weight 100;
1,000 steps of Adam with learning rate 10 on the 0-255 scale; from noise of standard deviation 0.256 on that scale, at
the content's own size. Weighted for the caffe flavour, with other loss weights for torchvision's; down to block5_conv1.
The source's .mat file holds caffe weights, with the channels in RGB order.

Source: https://github.com/anishathalye/neural-style, ``neural_style.py`` and ``stylize.py`` at commit d0a1148.

Differs from the source:

- Its content loss can be shared with relu5_2. The default share is 0, so that layer is left out here.
- Its pooling keeps an odd last row or column; here it is dropped. Sides that are multiples of 16 have none.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block4_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 5.0, "style": 500.0, "tv": 100.0},
    sizes=(),
    size_by="width",
    enlarge=True,
    resampling="bicubic",
    init="mean",
    init_deviation=0.256 / 255,
    **nstjax.units.from_255("adam", learning_rate=10, epsilon=1e-8),
    early_epsilon=True,
    steps=1000,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^2 times its weight, the style, quadratic in Gram matrices, 100^4 times.
flavours = {"torchvision": {"loss_weights": {"content": 5e4, "style": 5e10}}}

version = 3


def total_variation(picture):
    """Return mean squared neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_mean_squared(255 * picture)


def terms(config):
    """Return mean squares of features, of Gram matrices and of neighbour differences."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_sum(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram_per_element, nstjax.layer_mean(nstjax.losses.mean_squared)
        ),
        nstjax.PictureTerm("tv", total_variation),
    )
