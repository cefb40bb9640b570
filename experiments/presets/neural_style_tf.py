"""Smith's neural-style-tf with its defaults: L-BFGS from the content, average pooling.

    nstjax run CONTENT STYLE --preset neural-style-tf

Content at conv4_2, before the ReLU, ``1 / (2 sqrt(C) sqrt(N))`` of the sum of squares; style at the first convolution
of each block, ``1 / (4 C^2 N^2)`` of the sum of squares between Gram matrices ``F F^T``; weights 5 and 10,000; total
variation 0.001 on the 0-255 scale; 1,000 iterations of L-BFGS with 10 corrections; long side at most 512 pixels.
Weighted for the caffe flavour, with other loss weights for torchvision's; down to block5_conv1. The source's .mat file
holds caffe weights, with the channels in RGB order.

Each style layer has the weight 0.04: the source scales the layers' weights to a sum of 1, then divides by the number of
layers as well.

Source: https://github.com/cysmith/neural-style-tf, ``neural_style.py`` at commit a2c374f.

Differs from the source:

- It brings the style to the content's height and width; here the style keeps its aspect ratio, with the content's long
  side.
- Its L-BFGS is SciPy's L-BFGS-B, which stops when the loss hardly falls; here all iterations are made.
- Its pooling keeps an odd last row or column; here it is dropped. Sides that are multiples of 16 have none.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("conv4_2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 5.0, "style": 1e4, "tv": 1e-3},
    sizes=(512,),
    resampling="area",
    pooling="average",
    optimiser="lbfgs",
    memory=10,
    steps=1000,
    log_every=50,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^2 times its weight, the style, quadratic in Gram matrices, 100^4 times.
flavours = {"torchvision": {"loss_weights": {"content": 5e4, "style": 1e12}}}

version = 3


def total_variation(picture):
    """Return absolute neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_l1(255 * picture)


def terms(config):
    """Return Gatys' style loss, a content loss by the root of the map's size, and absolute total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.root_scaled_content)),
        nstjax.style_term(
            config.layers["style"],
            nstjax.statistics.gram,
            nstjax.layer_sum(
                nstjax.losses.quarter_mean_squared, weights=dict.fromkeys(config.layers["style"], 0.2 / 5)
            ),
        ),
        nstjax.PictureTerm("tv", total_variation),
    )
