"""The thirty-thousand-iteration recipe, with snapshots on the way.

    nstjax run CONTENT STYLE --preset long-run --out DIR

Content at block5_conv2, style at the first convolution of each block, total variation; weights 1, 10,000 and 10; Adam
from the content. According to the source, 17,000 iterations keep content and realism best, and 30,000 are more
abstract; a run with VGG16 did not show that (``experiments/results/2026-11-27-long-run.md``). Weighted for the caffe
flavour, with other loss weights for torchvision's.

The source leaves these choices open; experiments at 128 pixels (``experiments/studies/long_run.py``) decided them:

- Content: the source's formula says half the sum of squared differences, its prose the mean; the formula is taken. With
  the mean the content has no influence.
- Gram matrix: ``F F^T / (C N)``, mean squared differences, averaged over the five layers. With ``F F^T / N`` the
  content has no influence.
- Total variation: of the picture on the 0-255 scale, where the weighted term is a few percent of the rest and smooths.
  On the [0, 1] scale it is a millionth and changes nothing.
- Learning rate: 0.001 on the [0, 1] scale, for 30,000 iterations. Ten times as much is some five times as fast, and a
  tenth hardly begins within a thousand.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block5_conv2",),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"),
    },
    loss_weights={"content": 1.0, "style": 1e4, "tv": 10.0},
    sizes=(512,),
    steps=30_000,
    learning_rate=0.001,
    snapshots=(3_000, 9_000, 17_000, 23_000, 30_000),
    log_every=100,
)

flavour = "caffe"

# In blocks 1 to 3 torchvision's activations are about a hundredth of caffe's; at the content's layer in block 5 they
# are more, and less in block 4, whose Gram matrices make up most of the style
# (experiments/results/2026-11-27-flavours.md). So the style gets 2e6 times as much more weight as the content. Both get
# so much that total variation stays a few percent: at a fiftieth of it, it blurs the picture.
flavours = {"torchvision": {"loss_weights": {"content": 5e4, "style": 1e15}}}

version = 3


def total_variation(picture):
    """Return squared neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_squared(255 * picture)


def terms(config):
    """Return Gatys' content and style losses, and squared total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.half_sum_squared)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram_per_element, nstjax.layer_mean(nstjax.losses.mean_squared)
        ),
        nstjax.PictureTerm("tv", total_variation),
    )
