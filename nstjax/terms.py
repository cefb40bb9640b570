"""The two terms that nearly every objective has, in a line each; any other is a ``Term`` written out."""

from collections.abc import Callable, Sequence
from typing import Any

from nstjax.statistics import feature_map, per_layer
from nstjax.types import Distance, Term


def content_term(layers: Sequence[str], distance: Distance) -> Term:
    """The term "content": the feature maps of some layers against those of the content picture.

    Args:
        layers: names of layers.
        distance: of two ``{layer: map}``, as ``layer_sum`` and ``layer_mean`` make it of one of two maps.
    """
    return Term("content", tuple(layers), per_layer(feature_map), distance, target="content")


def style_term(layers: Sequence[str], statistic: Callable[..., Any], distance: Distance) -> Term:
    """The term "style": a statistic of each of some layers against that of the style picture.

    Args:
        layers: names of layers.
        statistic: of one feature map.
        distance: of two ``{layer: statistic}``, as ``layer_sum`` and ``layer_mean`` make it of one of two statistics.
    """
    return Term("style", tuple(layers), per_layer(statistic), distance, target="style")
