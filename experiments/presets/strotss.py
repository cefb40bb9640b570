"""Kolkin et al.'s STROTSS: relaxed optimal transport of hypercolumns, self-similarity of the content, coarse to fine.

    nstjax run CONTENT STYLE --preset strotss

The picture and nine convolutions, read at 1,024 random positions of the result, drawn again at every step, and at 5,000
of the style, drawn once for each size. Content is self-similarity, style the relaxed earth mover's distance, "moments"
the distance of means and covariances, "palette" a relaxed earth mover's distance of colours. The total is
``(a content + style + moments + palette / max(a, 1)) / (a + 2)``, where a is 16 at 64 pixels and halved whenever the
size doubles. Long sides 64, 128, 256, 512 with 249 steps of RMSprop each on a Laplacian pyramid, which starts again at
each size; learning rate 0.002, and half of that at the last size. From the mean colour of the style with the finest
details of the content, which are added again at each size but the last. Weighted for the
torchvision flavour, with another weight of the moments for caffe's; down to block5_conv3.

Source: https://github.com/nkolkin13/STROTSS at commit 9a1543a, with a content weight of 1; Kolkin, Salavon and
Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and Self-Similarity", 2019.

Differs from the source:

- It has VGG16; here VGG19 with the convolutions of the same names.
- It reads all terms at one set of the result's positions; here each term draws its own.
- It reads layers, and forms its pyramid, with the corners aligned; here with the centres of positions aligned.
- Equal colours have distance 0; in the source at least 0.0018.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax

import nstjax
from nstjax.losses import (
    draw_positions,
    hypercolumns,
    moment_difference,
    relaxed_earth_mover,
    relaxed_earth_mover_of_colours,
    sampled,
    sampled_alike,
    self_similarity,
    vector_moments,
)

LAYERS = (
    "input",
    *(f"block1_conv{i}" for i in (1, 2)),
    *(f"block2_conv{i}" for i in (1, 2)),
    *(f"block3_conv{i}" for i in (1, 2, 3)),
    "block4_conv3",
    "block5_conv3",
)

config = nstjax.Config(
    layers={"content": LAYERS, "style": LAYERS, "moments": LAYERS, "palette": ("input",)},
    loss_weights={"content": 1.0, "style": 1.0, "moments": 1.0, "palette": 1.0},
    sizes="64:512:2",
    steps=(249,),
    enlarge=True,
    smaller_from="original",
    resampling="bilinear-aliased",
    init="style-mean",
    content_details=True,
    parameterisation="laplacian",
    optimiser="rmsprop",
    learning_rate=2e-3,
    last_size_rate=0.5,
    beta2=0.99,
    restart_optimiser=True,
)

flavour = "torchvision"

# With caffe weights, covariances of the layers in blocks 1 to 3 are about five thousand times larger, and so are the
# moments' gradients (experiments/studies/flavours.py). All other distances depend on directions alone.
flavours = {"caffe": {"loss_weights": {"moments": 2e-4}}, "self-taught": {}}

version = 5


def content(x, t, key):
    """Return the self-similarity of 1,024 positions, times a / (a + 2)."""
    a = 1024 / max(x["input"].shape)
    return a / (a + 2) * sampled_alike(self_similarity, positions=1024)(x, t, key)


def style(x, t, key):
    """Return the relaxed earth mover's distance of hypercolumns, over a + 2."""
    a = 1024 / max(x["input"].shape)
    return 1 / (a + 2) * sampled(relaxed_earth_mover, positions=1024)(x, t, key)


def moments(x, t, key):
    """Return the distance of means and covariances, over a + 2."""
    a = 1024 / max(x["input"].shape)
    return 1 / (a + 2) * sampled(moment_difference, positions=1024)(x, t, key)


def palette(x, t, key):
    """Return the relaxed earth mover's distance of colours, over (a + 2) max(a, 1)."""
    a = 1024 / max(x["input"].shape)
    return 1 / ((a + 2) * max(a, 1)) * sampled(relaxed_earth_mover_of_colours, positions=1024)(x, t, key)


@dataclass(frozen=True)
class StyleColumns:
    """Hypercolumns of the style at 5,000 positions; or, if there is a ``summary``, that function of them."""

    layers: tuple[str, ...]
    summary: Callable | None = None

    def __call__(self, network, content, style):
        """Return the target of a term."""
        maps = network.features(style, self.layers)
        columns = hypercolumns(maps, draw_positions(jax.random.key(0), 5000, maps), interpolate=False)
        return columns if self.summary is None else self.summary(columns)


def terms(config):
    """Return self-similarity, relaxed transport of features, their moments, and relaxed transport of colours."""
    layers, maps = config.layers, nstjax.per_layer(nstjax.statistics.feature_map)
    return (
        nstjax.Term("content", layers["content"], maps, content, target="content"),
        nstjax.Term("style", layers["style"], maps, style, target=StyleColumns(layers["style"])),
        nstjax.Term(
            "moments", layers["moments"], maps, moments, target=StyleColumns(layers["moments"], vector_moments)
        ),
        nstjax.Term("palette", layers["palette"], maps, palette, target=StyleColumns(layers["palette"])),
    )
