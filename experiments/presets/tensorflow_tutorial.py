"""TensorFlow's tutorial, its second run: Adam from the content, with total variation.

    nstjax run CONTENT STYLE --preset tensorflow-tutorial

Content at block5_conv2, style at the first convolution of each block, by Gram matrices ``F F^T / N``; mean squares,
averaged over the layers; weights 10,000 and 0.01; total variation as the sum of absolute neighbour differences of the
picture in [0, 1], weight 30; 1,000 steps of Adam with learning rate 0.02, beta1 0.99 and epsilon 0.1, clamped to
[0, 1]; long side 512 pixels. Weighted for the caffe flavour (that of Keras's weights), with other loss
weights for torchvision's; down to block5_conv2.

Source: https://www.tensorflow.org/tutorials/generative/style_transfer.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block5_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 1e4, "style": 1e-2, "tv": 30.0},
    sizes=(512,),
    enlarge=True,
    resampling="bilinear-aliased",
    learning_rate=0.02,
    beta1=0.99,
    epsilon=0.1,
    early_epsilon=True,
    clamp=True,
    steps=1000,
    snapshot_every=100,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's; at the content's layer in block 5 they
# are more, and less in block 4, whose Gram matrices make up most of the style
# (experiments/results/2026-11-27-flavours.md). So the content gets 1e3 times its weight, the style 6e9 times.
flavours = {"torchvision": {"loss_weights": {"content": 1e7, "style": 6e7}}}

version = 3


def terms(config):
    """Return mean squares of features and of Gram matrices, and absolute total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram, nstjax.layer_mean(nstjax.losses.mean_squared)
        ),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_l1),
    )
