"""The words that every room shares: arrays, statistics, distances, terms.

A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1]; a feature map is ``[h, w, c]``. Batching is ``jax.vmap``.

A statistic and a distance are plain functions: a lambda, a function or a frozen dataclass with ``__call__`` will do.
Nothing needs to inherit from the protocols below; they say what the package calls, with which arguments.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from nstjax.arguments import to_names

Picture: TypeAlias = Float[Array, "height width 3"]
"""A picture: float32, sRGB, in [0, 1]."""

PictureLike: TypeAlias = Float[Array | np.ndarray, "_ _ 3"]
"""A picture as an argument: an array of JAX or NumPy. Two of them in one call may differ in size."""

RegionGuides: TypeAlias = Float[Array | np.ndarray, "_ _ _"]
"""The share of each pixel that each region covers, [R, H, W], at the size of a picture: an array of JAX or NumPy."""

Alpha: TypeAlias = Float[Array | np.ndarray, "_ _"]
"""The transparency of a picture, [H, W] in [0, 1], 1 is opaque: an array of JAX or NumPy."""

FeatureMap: TypeAlias = Float[Array, "h w c"]
"""The activations of one layer of the network."""

Features: TypeAlias = Mapping[str, Float[Array, "_ _ _"]]
"""The feature maps of several layers, ``{layer: [h, w, c]}``."""

Scalar: TypeAlias = Float[Array, ""]
"""An array of shape ``[]``, such as the value of a loss."""

Key: TypeAlias = PRNGKeyArray
"""A random key, as ``jax.random.key`` makes it."""

Guides: TypeAlias = Mapping[str, Float[Array, "regions _ _"]]
"""Position weights of each region at each layer, ``{layer: [R, h, w]}``.

They are of mean 1, or all 0 where pooling has dropped the region."""

Targets: TypeAlias = dict[str, Any]
"""The targets of an objective, ``{term name: statistic of the term's target picture}``."""


@runtime_checkable
class Network(Protocol):
    """A network whose features the terms see: ``VGG``, or any object with this method."""

    def features(self, picture: Picture, layers: tuple[str, ...]) -> Features:
        """Return the feature maps of the given layers, {layer: [h, w, c]}."""
        ...


@runtime_checkable
class GuidedNetwork(Network, Protocol):
    """A network that also carries region guides to its layers, as ``VGG`` does; needed only for regions."""

    def guides(self, guides_RxHxW: RegionGuides, layers: tuple[str, ...]) -> Guides:
        """Return the position weights of each region at the given layers, {layer: [R, h, w]}."""
        ...


@runtime_checkable
class LocalNetwork(Protocol):
    """A network whose features depend on a bounded neighbourhood, so that tiles can be computed: ``VGG`` is one.

    A map of stride s has ``length // s`` positions along a side, and position p belongs to the pixels from ``p s`` on.
    """

    def features(self, picture: Picture, layers: tuple[str, ...]) -> Features:
        """Return the feature maps of the given layers, {layer: [h, w, c]}."""
        ...

    def stride(self, layer: str) -> int:
        """Return the number of pixels along a side that belong to one position of a layer."""
        ...

    def reach(self, layers: Iterable[str]) -> int:
        """Return the most pixels that a position of these layers sees beyond its own, in any direction."""
        ...


@runtime_checkable
class Statistic(Protocol):
    """A pure function of the features of one term: ``per_layer(gram)``, or anything that looks at several layers."""

    def __call__(self, features: dict[str, FeatureMap], /, *args: Any, **kwargs: Any) -> Any:
        """Return the statistic of a term's features.

        Args:
            features: {layer: [h, w, c]} of the term's own layers, and of no others.
            args: none are passed.
            kwargs: ``weights``, the position weights {layer: [h, w]} of mean 1. Only a statistic that is marked
                ``@sums_over_positions`` takes them, and it gets them only where the picture has regions.

        Returns:
            Any pytree of arrays. Its structure must not depend on the values of the features.
        """
        ...


@runtime_checkable
class MapStatistic(Protocol):
    """A pure function of one feature map, such as ``gram``; ``per_layer`` makes a ``Statistic`` of it."""

    def __call__(self, features_HxWxC: FeatureMap, /, *args: Any, **kwargs: Any) -> Any:
        """Return the statistic of one feature map.

        Args:
            features_HxWxC: the map of one layer.
            args: none are passed.
            kwargs: ``weight_HxW``, the position weights [h, w] of mean 1. Only a statistic that is marked
                ``@sums_over_positions`` takes them, and it gets them only where the picture has regions.

        Returns:
            Any pytree of arrays.
        """
        ...


@runtime_checkable
class Distance(Protocol):
    """A pure function of two statistics, such as ``mean_squared``; or of two statistics and a random key."""

    def __call__(self, x: Any, t: Any, /, *args: Any, **kwargs: Any) -> Scalar:
        """Return how far a statistic is from its target.

        Args:
            x: the statistic of the picture.
            t: the target: the same statistic of the content or style picture.
            args: none are passed.
            kwargs: ``key``, a fresh random key at every step. Only a distance that draws random numbers takes it: it
                has an argument of this name.

        Returns:
            A scalar of the statistics' dtype.
        """
        ...


@runtime_checkable
class TargetFunction(Protocol):
    """A pure function that makes the target of a term, where that is no statistic of one picture."""

    def __call__(self, network: Any, content: Picture, style: Picture, /, *args: Any, **kwargs: Any) -> Any:
        """Return the target.

        Args:
            network: the network of the run, with the method ``features(picture, layers)``.
            content: [H, W, 3], at the size that is optimised.
            style: [H', W', 3]; with several styles the function is called for each, and their distances are blended.
            args: none are passed.
            kwargs: ``start``, the picture [H, W, 3] with which the present size begins. Only a function that has an
                argument of this name gets it.

        Returns:
            Any pytree of arrays.
        """
        ...


Shaping: TypeAlias = Callable[[FeatureMap, Scalar], FeatureMap]
"""A function ``(feature map, weight of the term)`` that returns the map as it is and replaces its gradient rule."""


@dataclass(frozen=True)
class Term:
    """A term of the objective that looks through the network: ``distance(statistic(features), target)``.

    Args:
        name: the key of the term in the weights and in the metrics.
        layers: names of the layers whose features the statistic gets; one name may stand alone.
        statistic: {layer: map} -> statistic.
        distance: (statistic, target) -> scalar; one with an argument named ``key`` also gets a random key.
        target: the picture whose statistic is the target; or a function that makes the target. It is called once at
            each size of a run, or in the pass after them.
        shaping: changes the term's gradient at each of its feature maps; None leaves the gradient as it is.
    """

    name: str
    layers: tuple[str, ...]
    statistic: Statistic
    distance: Distance
    target: Literal["content", "style"] | TargetFunction
    shaping: Shaping | None = None

    def __post_init__(self):
        object.__setattr__(self, "layers", to_names("layers", self.layers))


@dataclass(frozen=True)
class PictureTerm:
    """A term of the objective on the picture itself, such as total variation: ``loss(picture)``.

    Args:
        name: the key of the term in the weights and in the metrics.
        loss: picture [H, W, 3] -> scalar.
    """

    name: str
    loss: Callable[[Picture], Scalar]


AnyTerm: TypeAlias = Term | PictureTerm
"""A term of either kind."""
