"""Kolkin et al.'s Neural Neighbor Style Transfer: every feature becomes the nearest of the style, coarse to fine.

    nstjax run CONTENT STYLE --preset nnst

Hypercolumns of ten convolutions, each layer divided by its number of channels, at every fourth position. At each size
the nearest of the style is found once for each hypercolumn of a picture that is three quarters content and one quarter
result so far, by the cosine after centring, also in the style turned by 90, 180 and 270 degrees. The result is drawn to
these: the loss is the mean cosine distance, and there is no content term. Long sides 64, 128, 256, 512 with 199 steps
of Adam each, which starts again at each size; learning rate 0.002 on a Laplacian pyramid, from the content. Meant for
any flavour, down to block4_conv3.

Source: https://github.com/nkolkin13/NeuralNeighborStyleTransfer at commit 290976a; Kolkin, Kucera, Paris, Sykora,
Shechtman and Shakhnarovich, "Neural Neighbor Style Transfer", 2022.

Differs from the source:

- It has VGG16; here VGG19 with the convolutions of the same names.
- It makes 199 more steps at the last size, which find the nearest at every step, layer by layer: they gather colours in
  clear patches and change the picture by 18 of 255 levels on average.
- Its pyramid has eight levels at 512 pixels and five at 64; here five at every size.
- It resizes the pictures that it reads with the corners aligned; here with the centres of pixels aligned.
- At the end it gives the result the content's colours, moved towards the style's, so that things keep their own. Here
  the result keeps its colours, 20 of 255 levels away on average; ``--keep-colours oklab`` comes nearer, 11 levels.

Both were measured at 96 pixels; experiments/results/2026-11-27-programs.md says more.
"""

from dataclasses import dataclass

import jax.numpy as jnp

import nstjax
from nstjax.losses import find_nearest_cosine
from nstjax.parameterisation import find_finest_details
from nstjax.types import Statistic

config = nstjax.Config(
    layers={
        "style": (
            *(f"block1_conv{i}" for i in (1, 2)),
            *(f"block2_conv{i}" for i in (1, 2)),
            *(f"block3_conv{i}" for i in (1, 2, 3)),
            *(f"block4_conv{i}" for i in (1, 2, 3)),
        )
    },
    loss_weights={"style": 1.0},
    sizes="64:512:2",
    steps=(199,),
    enlarge=True,
    resampling="bilinear-aliased",
    parameterisation="laplacian",
    learning_rate=2e-3,
    restart_optimiser=True,
)

flavour = "torchvision"

# Cosine distances do not depend on the size of the activations.
flavours = {"caffe": {}, "self-taught": {}}

version = 3


@dataclass(frozen=True)
class NearestOfStyle:
    """The hypercolumns of the style that are nearest to those of the content blended with the start."""

    layers: tuple[str, ...]
    hypercolumns: Statistic

    def __call__(self, network, content, style, start):
        """Return the target [N, C]."""
        blended = 0.75 * content + 0.25 * (start + find_finest_details(content))
        columns = self.hypercolumns(network.features(blended, self.layers))
        turned = [network.features(jnp.rot90(style, quarters), self.layers) for quarters in range(4)]
        style_columns = jnp.concatenate([self.hypercolumns(features) for features in turned])
        return style_columns[find_nearest_cosine(columns, style_columns)]


def terms(config):
    """Return the cosine distance of hypercolumns from the nearest of the style."""
    layers, hypercolumns = config.layers["style"], nstjax.statistics.Hypercolumns(stride=4)
    target = NearestOfStyle(layers, hypercolumns)
    return (nstjax.Term("style", layers, hypercolumns, nstjax.losses.cosine, target=target),)
