"""The choice of tiles: whether a picture is computed at once or tile by tile, and how large the tiles are."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs
from nstjax.network.vgg import VGG
from nstjax.objective import Objective
from nstjax.statistics import is_sum_over_positions
from nstjax.system import cluster, devices
from nstjax.system.devices import CPU_FACTOR
from nstjax.tiling.checking import check_tiling
from nstjax.tiling.comparing import is_additive
from nstjax.tiling.grid import Grid, make_grid
from nstjax.types import Term

_BYTES = 7.2
"""Memory of a step, in bytes, for each value that the convolutions compute: the value itself, and what its gradient and
the convolutions need. XLA's count for VGG16 to block4_conv1 at 1024 pixels."""

_STATE = 160
"""Memory in bytes for each pixel of the picture, however computed: parameters, Adam's moments, gradient, copies, and
the pictures as they were prepared."""

_TARGET, _KEPT = 4, 12
"""Memory in bytes for each value of a content map: its target; or also the whole map and its gradient, where a distance
needs it whole."""

_CONTENT = 12
"""Memory in bytes for each pixel of a picture whose maps are computed at every step."""

_PASSES = 3, 5
"""Passes over the network in a step by tiles: for the statistics, and for the gradient there and back. Where the
content's maps are computed at every step, there are two more."""

_SHARE = 0.8
"""Share of the free memory that a run may take."""

SIDES = (2048, 1024, 512, 256, 128)
"""Sides of tiles, in pixels, to choose from. The larger they are, the fewer pixels are computed more than once."""


@dataclass(frozen=True)
class _Way:
    """A way to compute a picture by tiles: their side in pixels, and whether the content's maps are computed again."""

    side: int
    recompute: bool
    grid: Grid
    needed: float

    @property
    def cost(self) -> float:
        return self.grid.overhead * _PASSES[self.recompute]


def choose_tiles(config: Config, objective: Objective, network: VGG, pictures: Inputs, listener: Listener) -> Config:
    """Return the settings with ``tile`` a side in pixels, or "none" for a picture that is computed at once.

    The content's maps are computed at every step where they do not fit into memory.

    Args:
        config: the settings; ``tile`` may be "auto".
        objective: the terms.
        network: the network that they see.
        pictures: the pictures at the largest size.
        listener: told how many tiles there are and why, in one line.

    Raises:
        UserError: there must be tiles, and a term cannot be computed by tiles.
    """
    if config.tile == "none" or not objective.layers:
        return dataclasses.replace(config, tile="none")
    layers, shape = objective.layers, pictures.content.shape
    computed = _count_bytes_computed(network, layers)
    pixels = math.prod(shape[:2])
    largest = max(math.prod(picture.shape[:2]) for picture in (pictures.content, *pictures.styles))
    free = devices.available_memory() or math.inf
    if config.shard_picture:
        free = cluster.find_least(free)  # so that all processes choose the same
    reason = ""
    if config.tile == "auto" and not config.shard_picture:
        needed = largest * computed + pixels * _count_bytes_kept(network, objective, recompute=False)
        if needed <= _SHARE * free:
            return dataclasses.replace(config, tile="none")
        reason = f", since at once it needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free"
    try:
        check_tiling(objective.terms, network)
    except UserError as error:
        if not reason:
            raise
        listener.warning(f"the picture may not fit into memory{reason.replace(', since', ':')}; {error}")
        return dataclasses.replace(config, tile="none")
    ways = []
    for side in SIDES if config.tile == "auto" else (config.tile,):
        grid = make_grid(network, layers, shape, side)
        for recompute in sorted({config.recompute_content, True}):
            kept = _count_bytes_kept(network, objective, recompute=recompute)
            ways.append(_Way(side, recompute, grid, needed=math.prod(grid.window) * computed + pixels * kept))
    fitting = [way for way in ways if way.grid.count >= objective.devices and way.needed <= _SHARE * free]
    way = min(fitting, key=lambda way: way.cost) if fitting else min(ways, key=lambda way: way.needed)
    if way.grid.count > 1:
        height, width = way.grid.window
        again = ", with the content's maps computed at every step" if way.recompute else ""
        listener.notice(
            f"computing the picture by {way.grid.count} tiles, "
            f"each in a window of {width}x{height} pixels{again}{reason}"
        )
    return dataclasses.replace(config, tile=way.side, recompute_content=way.recompute)


def count_targets(objective: Objective, network: VGG, pictures: Inputs) -> float:
    """Count how many steps by tiles take as long as the targets; 0 if the picture is computed at once.

    Time is counted in passes over the network, for the pixels of all windows.
    """
    if objective.tile is None or not objective.layers:
        return 0
    make = functools.partial(make_grid, network, objective.layers, tile=objective.tile)
    grid = make(pictures.content.shape)

    def count_passes(target: str) -> int:
        terms = [term for term in objective.terms if isinstance(term, Term) and term.target == target]
        repeated = [term for term in terms if objective.recompute and is_additive(term)]
        return sum(len(term.layers) for term in repeated) + (len(terms) > len(repeated))

    pixels = count_passes("content") * grid.pixels
    pixels += count_passes("style") * sum(make(style.shape).pixels for style in pictures.styles)
    return pixels / (_PASSES[objective.recompute] * grid.pixels) if grid.count > 1 else 0


def _count_bytes_computed(network: VGG, layers: Sequence[str]) -> float:
    """Return the bytes that a step takes for each pixel that the network computes."""
    values = max((network.architecture.count_values(layer) for layer in layers if layer != "input"), default=0)
    return _BYTES * values * (CPU_FACTOR if jax.default_backend() == "cpu" else 1)


def _count_bytes_kept(network: VGG, objective: Objective, *, recompute: bool) -> float:
    """Return the bytes that a run keeps for each pixel of the picture."""
    total: float = _STATE
    for term in objective.terms:
        if isinstance(term, Term) and not is_sum_over_positions(term.statistic):
            values = sum(network.architecture.count_map_values(layer) for layer in term.layers if layer != "input")
            if is_additive(term):
                total += _CONTENT if recompute else _TARGET * values
            else:
                total += _KEPT * values
    return total
