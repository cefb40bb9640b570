"""Statistics of a picture by tiles: exactly those of the whole picture, in the memory of one tile.

A statistic that is a sum over positions is the sum of its tiles' parts. Each tile is computed in a window of the
picture that reaches ``halo`` pixels further, as far as the network looks, and only the positions of the tile itself
count. Windows never leave the picture: at its borders the network pads as it pads the whole picture. All windows have
one shape, so that one program computes them all.

The gradient goes over the tiles a second time, with the gradient of the whole picture's statistics, and adds up what
every window contributes. A halo of one reach is therefore enough for the gradient too.

Reference: Galerne, Raad, Lezama and Morel, "Scaling Painting Style Transfer", 2022, whose blocks have margins twice as
wide, since they keep the inner part of each block's gradient alone.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, PyTree

from nstjax import blending
from nstjax.blending import Distances, Region
from nstjax.losses.contract import error_context
from nstjax.statistics import is_sum_over_positions
from nstjax.system import cluster
from nstjax.tiling.comparing import ComputedMaps, KeptMaps, Scale, compare_tile, is_additive, make_scale
from nstjax.tiling.counts import find_powers
from nstjax.tiling.grid import Grid
from nstjax.types import Features, Guides, LocalNetwork, Picture, Term

Measured: TypeAlias = dict[str, dict[Region, PyTree]]
"""Statistics of one picture, ``{term name: {region: statistic}}``."""

References: TypeAlias = Mapping[str, KeptMaps | ComputedMaps]
"""Targets that are compared tile by tile, ``{term name: maps}``."""


def measure_by_tiles(
    network: LocalNetwork,
    picture: Picture,
    wanted: Mapping[Term, tuple[Region, ...]],
    guides: Guides | None,
    grid: Grid,
    devices: int,
    targets: Mapping[str, PyTree] | None,
    *,
    recompute: bool,
) -> Measured:
    """Return the statistics of terms in regions of a picture, as ``blending.measure`` does for the whole picture.

    Statistics that are no sums over positions, as those of content terms, are taken of whole maps, which are put
    together from the tiles. If their distance is a sum over elements, the distance is added up over the tiles instead,
    and the target's maps need not be kept.

    Args:
        network: the network whose features the terms see.
        picture: [H, W, 3].
        wanted: the regions in which the statistic of each term is asked for.
        guides: position weights of the regions at the layers of the terms.
        grid: the tiles of the picture, for all layers of the terms.
        devices: number of devices among which the tiles are shared out.
        targets: of the terms that are to be compared with them; None if the result is a target itself. Where it is
            possible to compare tile by tile, the result has ``Distances`` instead of a statistic.
        recompute: whether targets that are maps, and are compared tile by tile, are to be ``ComputedMaps``.
    """
    summed = {term: regions for term, regions in wanted.items() if is_sum_over_positions(term.statistic)}
    additive = tuple(term for term in wanted if is_additive(term))
    compared = () if targets is None else additive
    computed = additive if targets is None and recompute else ()
    others = {term: regions for term, regions in wanted.items() if term not in (*summed, *compared, *computed)}
    layers = tuple(dict.fromkeys(layer for term in summed for layer in term.layers))
    collected = tuple(dict.fromkeys(layer for term in others for layer in term.layers if layer != "input"))
    evaluation = _Evaluation(tuple(summed.items()), compared, collected, grid, devices)
    if guides is not None:
        blending.check_guide_shapes(guides, {layer: evaluation.shape(layer, network, whole=True) for layer in layers})
    references = {term.name: _get_reference(term, (targets or {})[term.name]) for term in compared}
    accumulated: Any = _accumulate(evaluation, picture, network, guides, references)
    sums, distances, parts = accumulated
    whole: Features = {"input": picture, **parts}
    sums |= {name: {None: Distances(values)} for name, values in distances.items()}
    sums |= {term.name: {None: _compute_maps(term, picture, network, grid, devices)} for term in computed}
    return sums | {term.name: blending.measure(term, whole, None, regions) for term, regions in others.items()}


def _get_reference(term: Term, target: Any) -> KeptMaps | ComputedMaps:
    if isinstance(target, ComputedMaps):
        return target
    return KeptMaps(target, {layer: make_scale(term, target[layer]) for layer in term.layers})


def _compute_maps(term: Term, picture: Picture, network: LocalNetwork, grid: Grid, devices: int) -> ComputedMaps:
    """Return the target of a term, of which only the map of one layer at a time is ever in memory."""
    scales: dict[str, Scale] = {}
    after = picture
    for layer in term.layers:
        single = replace(term, layers=(layer,))
        maps = measure_by_tiles(network, after, {single: (None,)}, None, grid, devices, None, recompute=False)
        scales[layer] = make_scale(single, maps[term.name][None][layer])
        # Makes the next layer's map wait until this one is no longer needed; XLA ignores a barrier there.
        after = jnp.where(jnp.isnan(scales[layer].unit), jnp.nan, picture)
    return ComputedMaps(picture, scales)


@dataclass(frozen=True)
class _Evaluation:
    """The static part of an evaluation.

    Args:
        summed: terms whose statistics are sums over positions, with their regions.
        compared: terms whose distances are sums over the elements of maps.
        collected: layers whose whole maps are put together.
        grid: the tiles.
        devices: number of devices that share the tiles.
    """

    summed: tuple[tuple[Term, tuple[Region, ...]], ...]
    compared: tuple[Term, ...]
    collected: tuple[str, ...]
    grid: Grid
    devices: int

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are looked at, each once."""
        terms = (*(term for term, _ in self.summed), *self.compared)
        return tuple(dict.fromkeys([layer for term in terms for layer in term.layers] + [*self.collected]))

    def measure(
        self, window: Array, network: LocalNetwork, guides: Guides | None, references: References, place: Array
    ) -> tuple[Any, Any, Any]:
        """Return the parts of the sums and of the distances that belong to one tile, and the maps of its window."""
        features = network.features(window, self.layers)
        sums: Measured = {}
        for term, regions in self.summed:
            with error_context(term):
                maps = {layer: features[layer] for layer in term.layers}
                weights = {layer: self.mask(layer, network, place).astype(jnp.float32) for layer in maps}
                factors = self.count_ratios(term, maps, network)
                sums[term.name] = {}
                for region in regions:
                    of_region = weights
                    if region is not None and guides is not None:
                        parts = {layer: self.crop(guides[layer][region], layer, network, place) for layer in maps}
                        of_region = {layer: weights[layer] * parts[layer] for layer in maps}
                    statistic = term.statistic(maps, weights=of_region)
                    sums[term.name][region] = jax.tree.map(jnp.multiply, statistic, factors)
        distances: dict[str, dict[str, Array]] = {}
        for term in self.compared:
            with error_context(term):
                distances[term.name] = {}
                reference = references[term.name]
                maps = self.get_maps(reference, term.layers, network, place)
                for layer in term.layers:
                    mask = self.mask(layer, network, place)
                    scale = reference.scales[layer]
                    distances[term.name][layer] = compare_tile(term, features[layer], maps[layer], scale, mask)
        return sums, distances, {layer: features[layer] for layer in self.collected}

    def get_maps(
        self, reference: KeptMaps | ComputedMaps, layers: tuple[str, ...], network: LocalNetwork, place: Array
    ) -> Features:
        """Return the target's maps in a window."""
        if isinstance(reference, ComputedMaps):
            return network.features(_crop(reference.picture, place[:, 0], self.grid.window), layers)
        return {layer: self.crop(reference.maps[layer], layer, network, place) for layer in layers}

    def shape(self, layer: str, network: LocalNetwork, *, whole: bool) -> tuple[int, int]:
        """Return the (height, width) of a layer's map, of the whole picture or of a window."""
        stride = network.stride(layer)
        height, width = ((cut.length if whole else cut.window) // stride for cut in (self.grid.rows, self.grid.columns))
        return height, width

    def mask(self, layer: str, network: LocalNetwork, place: Array) -> Bool[Array, "h w"]:
        """Return which positions of a window's map belong to its tile."""
        stride = network.stride(layer)
        sides = []
        for size, (start, first, end) in zip(self.shape(layer, network, whole=False), place, strict=True):
            at = jnp.arange(size) + start // stride
            sides.append((at >= first // stride) & (at < end // stride))
        return sides[0][:, None] & sides[1]

    def crop(self, whole: Array, layer: str, network: LocalNetwork, place: Array) -> Array:
        """Return the part of a layer's whole map [h, w, …] that lies in a window."""
        stride, shape = network.stride(layer), self.shape(layer, network, whole=False)
        return _crop(whole, place[:, 0] // stride, shape)

    def count_ratios(self, term: Term, maps: Features, network: LocalNetwork) -> PyTree:
        """Return, for each leaf of a term's statistic, what it is divided by in a window over that in the picture."""
        channels = tuple((layer, x.shape[-1]) for layer, x in maps.items())
        ratios = {
            layer: np.prod(self.shape(layer, network, whole=False)) / np.prod(self.shape(layer, network, whole=True))
            for layer in maps
        }
        powers, structure = find_powers(term.statistic, channels)
        leaves = [np.prod([ratios[layer] ** power for layer, power in leaf.items()]) for leaf in powers]
        return jax.tree.unflatten(structure, [np.float32(leaf) for leaf in leaves])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _accumulate(
    evaluation: _Evaluation, picture: Array, network: LocalNetwork, guides: Guides | None, references: References
) -> Any:
    """Return the sums and the distances over all tiles, and the whole maps, {layer: [h, w, c]}."""

    def measure(place: Array, picture: Array, network: LocalNetwork, *arrays: Any) -> Any:
        window = _crop(picture, place[:, 0], evaluation.grid.window)
        guides, references = arrays
        return evaluation.measure(window, network, guides, references, place)

    def add_tile(totals: Any, place: Array, picture: Array, network: LocalNetwork, *arrays: Any) -> Any:
        *sums, maps = totals
        *more, parts = measure(place, picture, network, *arrays)
        sums = jax.tree.map(jnp.add, sums, more)
        for layer, part in parts.items():
            start = place[:, 0] // network.stride(layer)
            mask = evaluation.mask(layer, network, place)[..., None]
            kept = jnp.where(mask, part, _crop(maps[layer], start, part.shape))
            maps = maps | {layer: _put(maps[layer], kept, start)}
        return *sums, maps

    place = jax.ShapeDtypeStruct(evaluation.grid.table.shape[1:], jnp.int32)
    arguments = (picture, network, guides, references)
    *sums, parts = jax.eval_shape(measure, place, *arguments)
    maps = {
        layer: jax.ShapeDtypeStruct((*evaluation.shape(layer, network, whole=True), part.shape[-1]), part.dtype)
        for layer, part in parts.items()
    }
    return _sum_over_tiles(evaluation, add_tile, (*sums, maps), *arguments)


def _accumulate_forward(evaluation: _Evaluation, *arguments: Any):
    return _accumulate(evaluation, *arguments), arguments


def _accumulate_backward(evaluation: _Evaluation, arguments: tuple[Any, ...], cotangents: tuple[Any, ...]):
    def add_tile(gradient: Array, place: Array, *everything: Any) -> Array:
        picture, network, guides, references, (*d_sums, d_maps) = everything
        start = place[:, 0]
        window = _crop(picture, start, evaluation.grid.window)
        _, pull = jax.vjp(lambda window: evaluation.measure(window, network, guides, references, place), window)
        d_parts = {}
        for layer, d_map in d_maps.items():
            mask = evaluation.mask(layer, network, place)[..., None]
            d_parts[layer] = jnp.where(mask, evaluation.crop(d_map, layer, network, place), 0)
        (d_window,) = pull((*d_sums, d_parts))
        return _put(gradient, _crop(gradient, start, window.shape) + d_window, start)

    picture, *others = arguments
    return _sum_over_tiles(evaluation, add_tile, picture, *arguments, cotangents), *(None for _ in others)


_accumulate.defvjp(_accumulate_forward, _accumulate_backward)


def _sum_over_tiles(evaluation: _Evaluation, add_tile: Callable[..., Any], like: Any, *arguments: Any) -> Any:
    """Return the totals over all tiles, starting from zeros.

    Args:
        evaluation: the tiles, and the number of devices that share them.
        add_tile: (totals, place of the tile, *arguments) -> totals.
        like: arrays, or ``ShapeDtypeStruct``, of the totals' shapes.
        arguments: arrays that every tile needs.
    """

    def add_tiles(table: Array, *arguments: Any) -> Any:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
        return lax.fori_loop(0, len(table), lambda k, totals: add_tile(totals, table[k], *arguments), zeros)

    table, count = evaluation.grid.table, evaluation.devices
    if count == 1:
        return add_tiles(jnp.asarray(table), *arguments)
    # Each device has the same number of tiles: tiles without a pixel make up for what is missing.
    table = np.concatenate([table, np.zeros((-len(table) % count, *table.shape[1:]), table.dtype)])
    share = jax.shard_map(
        lambda *arguments: lax.psum(add_tiles(*arguments), "devices"),
        mesh=cluster.make_mesh(count),
        in_specs=(PartitionSpec("devices"), *(PartitionSpec() for _ in arguments)),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    return share(jnp.asarray(table), *arguments)


def _crop(whole: Array, start: Any, shape: Sequence[int]) -> Array:
    rest = whole.shape[2:]
    return lax.dynamic_slice(whole, (start[0], start[1], *(0 for _ in rest)), (*shape[:2], *rest))


def _put(whole: Array, part: Array, start: Any) -> Array:
    return lax.dynamic_update_slice(whole, part, (start[0], start[1], *(0 for _ in whole.shape[2:])))
