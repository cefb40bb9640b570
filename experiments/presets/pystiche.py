"""pystiche's first example: L-BFGS from the content, without total variation.

    nstjax run CONTENT STYLE --preset pystiche

Content at relu4_2, style at the first convolution of each block, by Gram matrices ``F F^T / N``; mean squares,
averaged over the five layers; weights 1 and 1,000; 500 iterations of L-BFGS with steps of length 1; the short side is
500 pixels. Weighted for the torchvision flavour, with other loss weights for caffe's; down to block5_conv1.

Source: https://github.com/pystiche/pystiche, ``examples/beginner/example_nst_with_pystiche.py`` at commit 71217c2.

Differs from the source: nothing that is known, apart from the rounding of resized pictures to 8 bits.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block4_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 1.0, "style": 1e3},
    sizes=(500,),
    size_by="short",
    enlarge=True,
    resampling="bilinear",
    optimiser="lbfgs",
    line_search=False,
    memory=100,
    steps=500,
)

flavour = "torchvision"

# In blocks 1 to 3 the activations of caffe weights are about a hundred times larger (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^-2 of its weight, the style, quadratic in Gram matrices, 100^-4.
flavours = {"caffe": {"loss_weights": {"content": 1e-4, "style": 1e-5}}, "self-taught": {}}

version = 3


def terms(config):
    """Return mean squares of features and of Gram matrices."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram, nstjax.layer_mean(nstjax.losses.mean_squared)
        ),
    )
