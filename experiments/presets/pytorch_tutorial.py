"""PyTorch's tutorial: L-BFGS from the content, features before their ReLU.

    nstjax run CONTENT STYLE --preset pytorch-tutorial

Content at conv2_2, style at the first five convolutions, all before the ReLU, by Gram matrices ``F F^T / (C N)``;
mean squares, layers added up; weights 1 and 1,000,000; 300 iterations of L-BFGS; the short side is 512 pixels (128
where there is no GPU). Meant for the torchvision flavour, down to block3_conv1.

Source: https://pytorch.org/tutorials/advanced/neural_style_tutorial.html.

Differs from the source:

- it clamps the picture inside the function that L-BFGS evaluates, behind the optimiser's back, after which the loss
  can explode; here the picture is clamped when it is written.
- it wants two pictures of one size; here the style has a shape of its own.
- it counts evaluations, and goes on to the end of a round of 20; here iterations are counted.
- its L-BFGS takes steps of length 1 as they come; here a line search chooses their length, and each costs more.
- it resizes by bilinear interpolation, here by Lanczos'.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("conv2_2",),
        "style": ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"),
    },
    loss_weights={"content": 1.0, "style": 1e6},
    size=512,
    size_by="short",
    enlarge=True,
    optimiser="lbfgs",
    memory=100,
    steps=300,
    log_every=50,
)

version = 1


def terms(config):
    """Mean squares of features and of Gram matrices."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_sum(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram_per_element, nstjax.layer_sum(nstjax.losses.mean_squared)
        ),
    )
