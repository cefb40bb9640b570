"""The words that every room shares: arrays, statistics, distances, terms.

A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1]; a feature map is ``[h, w, c]``. Batches are ``jax.vmap``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jax import Array
from jaxtyping import Float, PRNGKeyArray, PyTree

Picture: TypeAlias = Float[Array, "height width 3"]
FeatureMap: TypeAlias = Float[Array, "h w c"]
Features: TypeAlias = Mapping[str, FeatureMap]
Scalar: TypeAlias = Float[Array, ""]
Key: TypeAlias = PRNGKeyArray

Guides: TypeAlias = Mapping[str, Float[Array, "regions h w"]]
"""For each layer and region, the weight of each position: of mean 1, or all 0 where the region has vanished."""

Statistic: TypeAlias = Callable[..., PyTree]
"""A pure function of the features of a term's layers, ``{layer: [h, w, c]}``. One that is a sum over positions has a
keyword ``weights``, ``{layer: [h, w]}``."""

Distance: TypeAlias = Callable[..., Scalar]
"""A pure function of a statistic and its target, ``(statistic, target)``. One that draws random numbers has a third
argument, named ``key``, and gets a fresh key at every step."""

Shaping: TypeAlias = Callable[[FeatureMap, Scalar], FeatureMap]
"""The identity on a feature map with a backward rule of its own, ``(map, the term's weight)``."""


@dataclass(frozen=True)
class Term:
    """A term of the objective that looks through the network: ``distance(statistic(features), target)``.

    Args:
        name: its name in the weights and in the metrics.
        layers: names of the layers whose features the statistic is given.
        statistic: features -> statistic.
        distance: (statistic, target) -> scalar.
        target: the picture whose statistic is the target.
        shaping: what becomes of the term's gradient at each of its layers' maps; by default, nothing.
    """

    name: str
    layers: tuple[str, ...]
    statistic: Statistic
    distance: Distance
    target: Literal["content", "style"]
    shaping: Shaping | None = None

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))


@dataclass(frozen=True)
class PictureTerm:
    """A term on the picture itself, such as total variation: ``loss(picture)``."""

    name: str
    loss: Callable[[Picture], Scalar]


AnyTerm: TypeAlias = Term | PictureTerm
Targets: TypeAlias = dict[str, Any]
