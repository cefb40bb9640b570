"""The objective: ``L(x) = sum_t w_t distance_t(statistic_t(F(x)), target_t)``, a sum of terms.

``content_term`` and ``style_term`` make the two usual terms; any other ``Term`` is written out. ``Objective(terms)``
puts terms together. Its ``targets`` computes each term's target once, from the content and style pictures; a call is
the loss of a picture: the total, and the value of each term. With one style and no regions, that is all.

Several styles, and regions, change two things (see ``blending``): a style term's target may be a ``Mixture`` of
targets, and its statistic may be taken in each region of the picture, by position weights that are called guides.

The structure of an objective is static: two objectives with equal terms compare equal and share one compiled program.
Targets and weights are traced: new values compile nothing, and ``jax.vmap`` sweeps them.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from nstjax import blending
from nstjax.arguments import check_kind, to_names, to_tuple
from nstjax.blending import Blend, Region
from nstjax.errors import UserError
from nstjax.losses.contract import check_term, error_context, takes_start
from nstjax.losses.results import check_scalar
from nstjax.shaping import apply_shaping
from nstjax.statistics import feature_map, is_sum_over_positions, per_layer
from nstjax.targets import PicturePair, complete_targets, make_target
from nstjax.tiling.checking import check_tiling
from nstjax.tiling.grid import make_grid
from nstjax.tiling.measuring import Measured, measure_by_tiles
from nstjax.types import (
    Alpha,
    AnyTerm,
    Distance,
    GuidedNetwork,
    Guides,
    Key,
    MapStatistic,
    Network,
    Picture,
    PictureLike,
    PictureTerm,
    RegionGuides,
    Scalar,
    Shaping,
    Targets,
    Term,
)


def content_term(layers: Sequence[str], distance: Distance) -> Term:
    """Return the term "content": it compares feature maps with those of the content picture.

    Args:
        layers: names of layers.
        distance: (x {layer: map}, t {layer: map}) -> scalar; ``layer_sum`` and ``layer_mean`` make it of a distance of
            two maps.
    """
    return Term("content", to_names("layers", layers), per_layer(feature_map), distance, target="content")


def style_term(layers: Sequence[str], statistic: MapStatistic, distance: Distance) -> Term:
    """Return the term "style": it compares a statistic of each layer with that of the style picture.

    Args:
        layers: names of layers.
        statistic: feature map [h, w, c] -> statistic.
        distance: (x {layer: statistic}, t {layer: statistic}) -> scalar; ``layer_sum`` and ``layer_mean`` make it of a
            distance of two statistics.
    """
    return Term("style", to_names("layers", layers), per_layer(statistic), distance, target="style")


@dataclass(frozen=True)
class Objective:
    """A sum of terms.

    Args:
        terms: terms with different names.
        tile: most pixels of a tile in each direction, for pictures that are too large to be computed at once; None for
            the whole picture. The values are the same but for rounding; see ``tiling.measuring``.
        devices: number of devices, of all processes, among which the tiles are shared out.
        recompute: whether the content's maps are computed again, tile by tile, whenever the picture is compared with
            them, so that they take no memory; for distances that are sums over elements.

    Raises:
        UserError: there are no terms, two terms have one name, or a term is not what ``Term`` says or cannot be hashed.
    """

    terms: tuple[AnyTerm, ...]
    tile: int | None = None
    devices: int = 1
    recompute: bool = False

    def __post_init__(self):
        object.__setattr__(self, "terms", to_tuple("terms", self.terms))
        for term in self.terms:
            check_kind("each of terms", term, Term | PictureTerm, "a nstjax.Term or a nstjax.PictureTerm")
            check_term(term)
        names = self.names
        if not names:
            raise UserError("an objective needs at least one term")
        if len(set(names)) < len(names):
            raise UserError(f"the terms of an objective need different names: got {', '.join(names)}")
        for term in self.terms:
            try:
                hash(term)
            except TypeError as error:
                raise UserError(
                    f"the term {term.name!r} cannot be hashed ({error}): make its statistic and distance functions, or "
                    "frozen dataclasses of plain numbers"
                ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, in order."""
        return tuple(term.name for term in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the terms look at, each once, in order of first use."""
        return _unique_layers(term for term in self.terms if isinstance(term, Term))

    def targets(
        self,
        network: Network,
        *,
        content: PictureLike,
        style: PictureLike | Sequence[PictureLike],
        blend: Blend | None = None,
        style_guides: Sequence[RegionGuides | None] | None = None,
        style_alphas: Sequence[Alpha | None] | None = None,
    ) -> Targets:
        """Return the target of each term, ``{term name: target}``; a ``PictureTerm`` has none.

        The target is the term's statistic of the content picture or of the style picture, or what its function makes
        of both. With several styles it is the blend of their statistics, or a ``Mixture``; with regions it is a
        ``Mixture``. The targets that depend on the start of a size are left open: see ``complete_targets``.

        Args:
            network: the network whose features the terms see.
            content: [H, W, 3].
            style: [H', W', 3], of any size; or a sequence of pictures, each of any size.
            blend: the share of each style, or one row of shares for each region, of any sum; equal shares by default.
                A style is ignored in regions where its share is 0.
            style_guides: for each style its region guides [R, H', W'], which say where to look for the style of each
                region; None: everywhere.
            style_alphas: for each style without guides its transparency [H', W'], or None. Statistics that are sums
                over positions leave its transparent areas out.

        Raises:
            UserError: blend, guides and styles do not fit together, or there are regions and a style term's statistic
                is not a sum over positions.
        """
        styles = [jnp.asarray(picture) for picture in (style if isinstance(style, Sequence) else [style])]
        guides = [*style_guides] if style_guides is not None else [None] * len(styles)
        shares = blending.normalise_blend(blend, styles=len(styles), regions=blending.count_regions(styles, guides))
        content_statistics = self._target_statistics("content", network, jnp.asarray(content), [None])
        targets: Targets = {name: by_region[None] for name, by_region in content_statistics.items()}
        style_terms = [*self._terms_with_target("style"), *self._function_terms]
        for term in style_terms:
            blending.check_regions(term, shares)
        by_style = []
        alphas = style_alphas or [None] * len(styles)
        for k, (picture, *areas) in enumerate(zip(styles, guides, alphas, strict=True)):
            regions = [region for region, row in shares.items() if row[k]]
            by_term = self._target_statistics("style", network, picture, regions, *areas) if regions else {}
            pair = PicturePair(jnp.asarray(content), picture)
            functions = self._function_terms if regions else ()
            by_style.append(by_term | {term.name: {None: make_target(term, network, pair)} for term in functions})
        for term in style_terms:
            with error_context(term):
                statistics = [by_term.get(term.name, {}) for by_term in by_style]
                targets[term.name] = blending.combine_targets(term, shares, statistics)
        return targets

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
        """Return the loss of a picture, and the value of each term.

        Args:
            picture: [H, W, 3].
            network: the network whose features the terms see; may be None if every term is a ``PictureTerm``.
            targets: the result of ``targets``.
            weights: {term name: w_t}.
            key: random key for distances that draw random numbers; each term gets a key folded from it.
            guides: the result of ``guides``, for the regions of this picture; needed only if the targets have regions.

        Returns:
            (total, {term name: value without its weight}).

        Raises:
            UserError: the guides do not fit the picture's size or the targets' regions, or a term is not a scalar.
            ValueError: a key or guides are missing, or there are guides and the targets have no regions.
        """
        wanted = {}
        for term in self.terms:
            if isinstance(term, Term):
                with error_context(term):
                    if term.target == "style":
                        blending.check_guides(term, targets[term.name], guides)
                    wanted[term] = blending.list_regions(targets[term.name])
        measured = self._measure(network, picture, wanted, guides, weights, targets)
        parts: dict[str, Scalar] = {}
        for index, term in enumerate(self.terms):
            with error_context(term):
                if isinstance(term, Term):
                    term_key = None if key is None else jax.random.fold_in(key, index)
                    parts[term.name] = blending.compare(term, measured[term.name], targets[term.name], term_key)
                else:
                    parts[term.name] = check_scalar(term.loss(picture), term.loss)
        total = sum((weights[name] * value for name, value in parts.items()), jnp.float32(0))
        return total, parts

    @property
    def needs_start(self) -> bool:
        """True if the target of a term depends on the picture with which a size begins."""
        return any(takes_start(term.target) for term in self._function_terms)

    def complete_targets(self, targets: Targets, network: Network | None, start: Picture | None) -> Targets:
        """Return the targets with those that depend on ``start``, the picture with which a size begins."""
        return complete_targets(self._function_terms, targets, network, start) if self.needs_start else targets

    def select(self, names: Container[str]) -> "Objective":
        """Return a copy with the terms of these names alone."""
        return replace(self, terms=tuple(term for term in self.terms if term.name in names))

    def with_shaping(self, shaping: Shaping | None) -> "Objective":
        """Return a copy in which every ``Term`` has the given gradient shaping; None removes it."""
        terms = (replace(term, shaping=shaping) if isinstance(term, Term) else term for term in self.terms)
        return replace(self, terms=tuple(terms))

    def guides(self, network: Network, guides_RxHxW: RegionGuides) -> Guides:
        """Return region guides at the layers of the style terms, as ``__call__`` takes them.

        Args:
            network: the network that carries the guides to its layers.
            guides_RxHxW: for each region of the picture, where it is, in [0, 1].

        Raises:
            UserError: the network has no method ``guides``.
        """
        if not isinstance(network, GuidedNetwork):
            raise UserError(f"{type(network).__name__} carries no region guides: use VGG, or add a method guides")
        return network.guides(jnp.asarray(guides_RxHxW), _unique_layers(self._terms_with_target("style")))

    @property
    def _function_terms(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if isinstance(term, Term) and callable(term.target))

    def _terms_with_target(self, target: Literal["content", "style"]) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if isinstance(term, Term) and term.target == target)

    def _target_statistics(
        self,
        target: Literal["content", "style"],
        network: Network,
        picture: Picture,
        regions: Sequence[Region],
        guides_RxHxW: RegionGuides | None = None,
        alpha_HxW: Alpha | None = None,
    ) -> dict[str, dict[Region, PyTree]]:
        """Return the statistics of a target picture, {term name: {region: statistic}}."""
        terms = self._terms_with_target(target)
        if not terms:
            return {}
        visible = guides_RxHxW if alpha_HxW is None or guides_RxHxW is not None else alpha_HxW[None]
        guides = None if visible is None else self.guides(network, visible)
        if guides_RxHxW is not None:
            return self._measure(network, picture, dict.fromkeys(terms, tuple(regions)), guides)
        # The style of every region is that of the whole picture, of whose transparency the guides are the one region.
        leaves_out = {term: guides is not None and is_sum_over_positions(term.statistic) for term in terms}
        wanted = {term: (0 if leaves_out[term] else None,) for term in terms}
        measured = self._measure(network, picture, wanted, guides)
        return {term.name: dict.fromkeys(regions, measured[term.name][wanted[term][0]]) for term in terms}

    def _measure(
        self,
        network: Network | None,
        picture: Picture,
        wanted: Mapping[Term, tuple[Region, ...]],
        guides: Guides | None,
        weights: Mapping[str, float | Scalar] | None = None,
        targets: Targets | None = None,
    ) -> Measured:
        """Return the statistics of a picture, {term name: {region: statistic}}, in the regions wanted.

        Weights are needed where gradients are shaped. With targets, ``Distances`` may take the place of a statistic.
        """
        layers = _unique_layers(wanted)
        if network is None or not layers:
            return {}
        if self.tile is not None:
            local = check_tiling(wanted, network)
            grid = make_grid(local, layers, picture.shape, self.tile)
            if grid.count > 1:
                shares = {"devices": self.devices, "recompute": self.recompute}
                return measure_by_tiles(local, picture, wanted, guides, grid, targets=targets, **shares)
        features = network.features(picture, layers)
        measured = {}
        for term, regions in wanted.items():
            with error_context(term):
                shaped = features if weights is None else apply_shaping(term, features, weights)
                measured[term.name] = blending.measure(term, shaped, guides, regions)
        return measured


def _unique_layers(terms: Iterable[Term]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer for term in terms for layer in term.layers))
