"""Keras's example: gradient descent from the content, with a falling learning rate.

    nstjax run CONTENT STYLE --preset keras-example

Content at block5_conv2, the sum of squares, weight 2.5e-8; style at the first convolution of each block, 1/36 of the
sum of squares between Gram matrices over the *picture's* height and width, averaged over the layers, weight 1e-6; total
variation ``sum (dx^2 + dy^2)^1.25`` on the 0-255 scale, weight 1e-6; 4,000 steps of gradient descent with learning rate
100 on the 0-255 scale, which falls smoothly by a factor of 0.96 every 100 steps; 400 pixels high. Weighted for the
caffe flavour (that of Keras's weights), with other loss weights for the others; down to block5_conv2.

Source: https://keras.io/examples/generative/neural_style_transfer.

Differs from the source:

- It brings the style to the content's height and width; here the style keeps its aspect ratio, at the content's height.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block5_conv2",),
        "style": ("input", "block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 2.5e-8, "style": 1e-6, "tv": 1e-6},
    sizes=(400,),
    size_by="height",
    enlarge=True,
    resampling="nearest",
    **nstjax.units.from_255("sgd", learning_rate=100),
    momentum=0.0,
    schedule="exponential",
    schedule_rate=0.96,
    schedule_steps=100,
    steps=4000,
    snapshot_every=100,
)

flavour = "caffe"

# In blocks 1 to 3 the activations of other weights are about a hundredth of caffe's (experiments/studies/flavours.py).
# The content, quadratic in them, gets 100^2 times its weight, the style, quadratic in Gram matrices, 100^4 times.
FOR_SMALL_ACTIVATIONS = {"loss_weights": {"content": 2.5e-4, "style": 100.0}}
flavours = {"torchvision": FOR_SMALL_ACTIVATIONS, "self-taught": FOR_SMALL_ACTIVATIONS}

version = 2


def total_variation(picture):
    """Return ``sum (dx^2 + dy^2)^1.25`` of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_keras(255 * picture)


def terms(config):
    """Return sums of squares of features and of Gram matrices over the picture's size, and total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.sum_squared)),
        nstjax.Term(
            "style",
            config.layers["style"],
            nstjax.statistics.gram_over_picture,
            nstjax.layer_mean(nstjax.losses.keras_style),
            target="style",
        ),
        nstjax.PictureTerm("tv", total_variation),
    )
