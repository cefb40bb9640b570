"""The objective: ``L(x) = sum_t w_t distance_t(statistic_t(F(x)), target_t)``, a tuple of terms.

Its structure is static: two objectives of equal terms compare equal and share one compiled program. Targets and
weights are traced: to change them compiles nothing, to sweep them is ``jax.vmap``.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from nstjax import blending
from nstjax.blending import Blend, Mixture, Region
from nstjax.errors import UserError
from nstjax.losses import takes_key
from nstjax.statistics import feature_map, per_layer
from nstjax.types import AnyTerm, Distance, Features, Guides, Key, Picture, Scalar, Shaping, Targets, Term


class Network(Protocol):
    """Anything with the ``features`` of ``VGG``."""

    def features(self, picture: Picture, layers: tuple[str, ...]) -> Features:
        """{name: [h, w, c]} of the layers asked for."""
        ...


@runtime_checkable
class GuidedNetwork(Network, Protocol):
    """A network that carries region guides too; without guides any network will do."""

    def guides(self, guides_RxHxW: Float[Array, "regions height width"], layers: tuple[str, ...]) -> Guides:
        """{name: position weights [R, h, w]} of the layers asked for."""
        ...


@dataclass(frozen=True)
class Objective:
    """A sum of terms.

    Args:
        terms: each with a name of its own.

    Raises:
        UserError: no terms, or two of one name.
    """

    terms: tuple[AnyTerm, ...]

    def __post_init__(self):
        object.__setattr__(self, "terms", tuple(self.terms))
        names = self.names
        if not names:
            raise UserError("an objective needs at least one term")
        if len(set(names)) < len(names):
            raise UserError(f"each term needs a name of its own: got {', '.join(names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, in their order."""
        return tuple(term.name for term in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that a term looks at, once, in order of first use."""
        return _layers(term for term in self.terms if isinstance(term, Term))

    def shaped(self, shaping: Shaping | None) -> "Objective":
        """The same objective with the gradient of every term that looks through the network shaped; None: of none."""
        return Objective(tuple(replace(it, shaping=shaping) if isinstance(it, Term) else it for it in self.terms))

    def guides(self, network: Network, guides_RxHxW: Float[Array, "regions height width"]) -> Guides:
        """Region guides [R, H, W] at the layers of the style terms: what ``__call__`` takes.

        Raises:
            UserError: the network carries none.
        """
        if not isinstance(network, GuidedNetwork):
            raise UserError(f"{type(network).__name__} carries no region guides: use VGG, or give it a method guides")
        return network.guides(guides_RxHxW, _layers(self._that_see("style")))

    def targets(
        self,
        network: Network,
        *,
        content: Picture,
        style: Picture | Sequence[Picture],
        blend: Blend | None = None,
        style_guides: Sequence[Float[Array, "regions height width"] | None] | None = None,
    ) -> Targets:
        """{term: its statistic of its target picture}; terms on the picture itself have none.

        With several styles a style term's target is their blend, or a ``Mixture``; with regions it is a ``Mixture``.

        Args:
            network: whose features the terms see.
            content: [H, W, 3].
            style: [H', W', 3], of any size; or a sequence of them, each of its own size.
            blend: the share of each style, or a row of them for each region, of any sum; equal shares by default. In
                a region in which a style's share is 0 it is not looked at.
            style_guides: for each style, where each region's style is in it, [R, H', W']; None: everywhere.

        Raises:
            UserError: blend, guides and styles do not fit together, or a term can have no regions.
        """
        styles = [*style] if isinstance(style, Sequence) else [style]
        guides = [*style_guides] if style_guides is not None else [None] * len(styles)
        shares = blending.shares(blend, styles=len(styles), regions=_regions(styles, guides))
        seen = self._statistics("content", network, content, [None])
        targets: Targets = {name: statistic[None] for name, statistic in seen.items()}
        terms = self._that_see("style")
        for term in terms:
            blending.check_regions(term, shares)
        each = []
        for k, (picture, guide) in enumerate(zip(styles, guides, strict=True)):
            regions = [region for region, row in shares.items() if row[k]]
            each.append(self._statistics("style", network, picture, regions, guide) if regions else {})
        for term in terms:
            with _noted(term):
                targets[term.name] = blending.target(term, shares, [it.get(term.name, {}) for it in each])
        return targets

    def _that_see(self, target: Literal["content", "style"]) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if isinstance(term, Term) and term.target == target)

    def _statistics(
        self,
        target: Literal["content", "style"],
        network: Network,
        picture: Picture,
        regions: Sequence[Region],
        guides_RxHxW: Any = None,
    ) -> dict[str, dict[Region, PyTree]]:
        """{term: {region: its statistic there}} of a target picture."""
        terms = self._that_see(target)
        if not terms:
            return {}
        features = network.features(picture, _layers(terms))
        guides = None if guides_RxHxW is None else self.guides(network, guides_RxHxW)
        found = {}
        for term in terms:
            with _noted(term):
                if guides is None:
                    found[term.name] = dict.fromkeys(regions, blending.statistic(term, features, None, None))
                else:
                    found[term.name] = {it: blending.statistic(term, features, guides, it) for it in regions}
        return found

    def __call__(
        self,
        picture: Picture,
        *,
        network: Network | None,
        targets: Targets,
        weights: Mapping[str, float | Scalar],
        key: Key | None = None,
        guides: Guides | None = None,
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """The loss of a picture.

        Args:
            picture: [H, W, 3].
            network: whose features the terms see; None will do where they see none.
            targets: from ``targets``.
            weights: {term: w_t}.
            key: for terms whose distance draws random numbers; each gets one of its own.
            guides: of the picture's regions, from ``guides``, if the targets have regions.

        Returns:
            (total, {term: its value, before its weight}).

        Raises:
            UserError: guides of another size, or of other regions than the targets.
        """
        features = network.features(picture, self.layers) if network is not None and self.layers else {}
        parts: dict[str, Scalar] = {}
        for index, term in enumerate(self.terms):
            with _noted(term):
                if isinstance(term, Term):
                    own = _shaped(term, features, weights)
                    drawn = None if key is None else jax.random.fold_in(key, index)
                    value = _value(term, own, targets[term.name], drawn, guides)
                else:
                    value = term.loss(picture)
            if jnp.shape(value) != ():
                raise UserError(f"the term {term.name!r} must be a scalar, not of shape {[*jnp.shape(value)]}")
            parts[term.name] = value
        total = sum((weights[name] * value for name, value in parts.items()), jnp.float32(0))
        return total, parts


def _layers(terms: Iterable[Term]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer for term in terms for layer in term.layers))


def _regions(styles: Sequence[Picture], guides: Sequence[Any]) -> int | None:
    """How many the styles' guides have; None where there are no guides."""
    if len(guides) != len(styles):
        raise UserError(f"{len(guides)} style guides for {len(styles)} styles: give each style its guides, or None")
    for k, (picture, guide) in enumerate(zip(styles, guides, strict=True), 1):
        if guide is not None and (guide.ndim != 3 or guide.shape[1:] != picture.shape[:2]):
            expected = ["regions", *picture.shape[:2]]
            raise UserError(f"the guides of style {k} must be {expected}, as its picture is, not {[*guide.shape]}")
    counts = {guide.shape[0] for guide in guides if guide is not None}
    if len(counts) > 1:
        raise UserError(f"the guides of all styles must have the same regions: got {sorted(counts)} of them")
    return counts.pop() if counts else None


def _shaped(term: Term, features: Features, weights: Mapping[str, float | Scalar]) -> Features:
    own = {layer: features[layer] for layer in term.layers}
    if term.shaping is None:
        return own
    return {layer: term.shaping(x, jnp.asarray(weights[term.name], x.dtype)) for layer, x in own.items()}


def _value(term: Term, features: Features, target: PyTree, key: Key | None, guides: Guides | None) -> Scalar:
    def distance(x: PyTree, t: PyTree, key: Key | None) -> Scalar:
        if not takes_key(term.distance):
            return term.distance(x, t)
        if key is None:
            raise ValueError(f"the distance of term {term.name!r} draws random numbers: pass key=")
        return term.distance(x, t, key=key)

    if term.target == "style":
        _check(term, features, target, guides)
    if not isinstance(target, Mixture):
        return distance(blending.statistic(term, features, None, None), target, key)
    found = {region: blending.statistic(term, features, guides, region) for region in dict.fromkeys(target.regions)}
    value = jnp.float32(0)
    for m, (t, region) in enumerate(zip(target.targets, target.regions, strict=True)):
        drawn = None if key is None else jax.random.fold_in(key, m)
        value += target.shares[m] * distance(found[region], t, drawn)
    return value


def _check(term: Term, features: Features, target: PyTree, guides: Guides | None) -> None:
    """Guides where the target has regions, and only there, that fit the regions and the features."""
    regional = isinstance(target, Mixture) and None not in target.regions
    if guides is None:
        if regional:
            raise ValueError(f"the target of term {term.name!r} has regions: pass guides=")
        return
    if not regional:
        raise ValueError(f"the target of term {term.name!r} has no regions: give targets style_guides, or blend rows")
    for layer in term.layers:
        expected = (len(target.regions), *features[layer].shape[:2])
        if guides[layer].shape != expected:
            raise UserError(f"the guides at {layer} must be {[*expected]}, not {[*guides[layer].shape]}")


@contextlib.contextmanager
def _noted(term: AnyTerm) -> Iterator[None]:
    """An error says in which term it arose."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the term {term.name!r}")
        raise


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
