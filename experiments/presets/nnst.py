"""Kolkin et al.'s Neural Neighbor Style Transfer: every feature becomes the nearest of the style, coarse to fine.

    nstjax run CONTENT STYLE --preset nnst

Hypercolumns of ten convolutions, each layer divided by its number of channels, at every fourth position. At each size
the nearest of the style is found once for each hypercolumn of a picture that is three quarters content and one quarter
result so far, by the cosine after centring, also in the style turned by 90, 180 and 270 degrees. The result is drawn to
these: the loss is the mean cosine distance, and there is no content term. A further pass at the last size, which clears
grain away, finds the nearest of each layer by itself, at every step: it adds the layers' mean distances, at positions
so far apart that about 64 lie along the long side, from a random first one on. Long sides 64, 128, 256, 512, then that
pass: 199 steps of Adam each, which starts again each time; learning rate 0.002 on a Laplacian pyramid, from the
content. Meant for any flavour, down to block4_conv3.

Source: https://github.com/nkolkin13/NeuralNeighborStyleTransfer at commit 290976a; Kolkin, Kucera, Paris, Sykora,
Shechtman and Shakhnarovich, "Neural Neighbor Style Transfer", 2022.

Differs from the source:

- It has VGG16; here VGG19 with the convolutions of the same names.
- Where a map has 64 positions or fewer along its long side, its last pass compares the style with numbers of the last
  larger map, which its loop left behind; here each layer with itself, as the paper describes.
- Its pyramid has eight levels at 512 pixels and five at 64; here five at every size.
- It resizes the pictures that it reads with the corners aligned; here with the centres of pixels aligned.
- At the end it gives the result the content's colours, moved towards the style's, so that things keep their own. Here
  the result keeps its colours, 20 of 255 levels away on average; ``--keep-colours oklab`` comes nearer, 11 levels
  (measured at 96 pixels; experiments/results/2026-11-27-programs.md says more).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import nstjax
from nstjax.losses import find_nearest_cosine, nearest_cosine
from nstjax.parameterisation import find_finest_details
from nstjax.types import Statistic

LAYERS = (
    *(f"block1_conv{i}" for i in (1, 2)),
    *(f"block2_conv{i}" for i in (1, 2)),
    *(f"block3_conv{i}" for i in (1, 2, 3)),
    *(f"block4_conv{i}" for i in (1, 2, 3)),
)

config = nstjax.Config(
    layers={"style": LAYERS, "split": LAYERS},
    loss_weights={"style": 1.0},
    finish_weights={"split": 1.0},
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

version = 4


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


@dataclass(frozen=True)
class TurnedStyle:
    """The maps of the style and of the style turned by 90, 180 and 270 degrees, turned back, one below the other."""

    layers: tuple[str, ...]

    def __call__(self, network, content, style):
        """Return the target, {layer: [4 H, W, C]}."""
        turned = [network.features(jnp.rot90(style, quarters), self.layers) for quarters in range(4)]
        return {
            layer: jnp.concatenate([jnp.rot90(features[layer], -quarters) for quarters, features in enumerate(turned)])
            for layer in self.layers
        }


def split(x, t, key):
    """Return the sum over layers of the mean distance from the nearest of the style, at positions drawn anew."""
    distances = []
    for index, layer in enumerate(x):
        stride = max(max(x[layer].shape[:2]) // 64, 1)
        first = jax.random.randint(jax.random.fold_in(key, index), (2,), 0, stride)
        vectors = (read_vectors(features[layer], first, stride) for features in (x, t))
        distances.append(nearest_cosine(*vectors))
    return jnp.stack(distances).sum()


def read_vectors(features_HxWxC, first, stride):
    """Return the feature vectors at every position of a grid [N, C], from its first row and column on."""
    h, w, c = features_HxWxC.shape
    rows, columns = first[0] + stride * jnp.arange(h // stride), first[1] + stride * jnp.arange(w // stride)
    return features_HxWxC[rows][:, columns].reshape(-1, c)


def terms(config):
    """Return the cosine distances of hypercolumns, and those of each layer, from the nearest of the style."""
    layers, hypercolumns = config.layers, nstjax.statistics.Hypercolumns(stride=4)
    nearest, maps = NearestOfStyle(layers["style"], hypercolumns), nstjax.per_layer(nstjax.statistics.feature_map)
    return (
        nstjax.Term("style", layers["style"], hypercolumns, nstjax.losses.cosine, target=nearest),
        nstjax.Term("split", layers["split"], maps, split, target=TurnedStyle(layers["split"])),
    )
