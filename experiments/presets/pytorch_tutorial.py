"""PyTorch's tutorial: L-BFGS from the content, features before their ReLU.

    nstjax run CONTENT STYLE --preset pytorch-tutorial

Content at conv2_2, style at the first five convolutions, all before the ReLU, by Gram matrices ``F F^T / (C N)``;
mean squares, summed over the layers; weights 1 and 1,000,000; 320 iterations of L-BFGS with steps of length 1 (the
source asks for 300, and ends with the first round of 20 that goes beyond); the short side is 512 pixels (in the source
128 if there is no GPU). Weighted for the torchvision flavour, with other loss weights for caffe's; down to
block3_conv1.

Source: https://pytorch.org/tutorials/advanced/neural_style_tutorial.html.

Differs from the source:

- It clamps the picture inside the function that L-BFGS evaluates, unknown to the optimiser, after which the loss can
  explode; here the picture is clamped when it is written.
- It requires two pictures of the same size; here the style keeps its shape.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("conv2_2",),
        "style": ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"),
    },
    loss_weights={"content": 1.0, "style": 1e6},
    sizes=(512,),
    size_by="short",
    enlarge=True,
    resampling="bilinear",
    optimiser="lbfgs",
    line_search=False,
    memory=100,
    steps=320,
    log_every=50,
)

flavour = "torchvision"

# Before the ReLU the values of caffe weights are about sixty times larger (experiments/studies/flavours.py).
# The content, quadratic in them, gets about 60^-2 of its weight, the style, quadratic in Gram matrices, about 60^-4.
flavours = {"caffe": {"loss_weights": {"content": 3e-4, "style": 0.1}}, "self-taught": {}}

version = 3


def terms(config):
    """Return mean squares of features and of Gram matrices."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_sum(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram_per_element, nstjax.layer_sum(nstjax.losses.mean_squared)
        ),
    )
