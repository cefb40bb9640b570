"""The fifty-iteration tutorial, as its text describes it.

    nstjax run CONTENT STYLE --preset tutorial

Content at block5_conv2, style at block1_conv1, block3_conv1 and block5_conv1, mean squares, Gram matrices divided by
the number of positions, equal layer weights; content weight 10, style weight 1,000; Adam with learning rate 0.7 on the
0-255 scale; the picture whose loss was lowest; a sheet of the last ten pictures. Weighted for the
caffe flavour, with other loss weights for the others.

The published listing does something else: see ``tutorial-literal``. The source leaves Adam's epsilon open; this is
Keras's 1e-7 on the 0-255 scale: the gradient of a picture divided by 255 is 255 times as large, and epsilon, which is
added to its root mean square, with it.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block5_conv2",),
        "style": ("block1_conv1", "block3_conv1", "block5_conv1"),
    },
    loss_weights={"content": 10.0, "style": 1000.0},
    sizes=(512,),
    steps=50,
    learning_rate=0.7 / 255,
    epsilon=1e-7 * 255,
    clamp=True,
    keep="best",
    snapshots=tuple(range(41, 51)),
    log_every=1,
)

flavour = "caffe"

# In blocks 1 to 3 the activations of other weights are about a hundredth of caffe's (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^2 times its weight, the style, quadratic in Gram matrices, 100^4 times.
FOR_SMALL_ACTIVATIONS = {"loss_weights": {"content": 1e5, "style": 1e11}}
flavours = {"torchvision": FOR_SMALL_ACTIVATIONS, "self-taught": FOR_SMALL_ACTIVATIONS}

version = 2


def terms(config):
    """Return mean squares of features and of Gram matrices."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram, nstjax.layer_mean(nstjax.losses.mean_squared)
        ),
    )
