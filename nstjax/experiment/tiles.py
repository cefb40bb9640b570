"""The choice of tiles: whether a picture is computed at once or tile by tile, and how large the tiles are."""

import math
from collections.abc import Sequence
from typing import Literal

import jax

from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs
from nstjax.network.vgg import VGG
from nstjax.objective import Objective
from nstjax.statistics import is_sum_over_positions
from nstjax.system import devices
from nstjax.system.devices import CPU_FACTOR
from nstjax.tiling.comparing import is_additive
from nstjax.tiling.grid import make_grid
from nstjax.tiling.measuring import check_tiling
from nstjax.types import Term

_BYTES = 7.2
"""Memory of a step, in bytes, for each value that the convolutions compute: the value itself, and what its gradient and
the convolutions need. XLA's count for VGG16 to block4_conv1 at 1024 pixels."""

_STATE = 140
"""Memory in bytes for each pixel of the picture, however computed: parameters, Adam's moments, gradient, copies."""

_TARGET, _KEPT = 4, 12
"""Memory in bytes for each value of a content map: its target; or also the whole map and its gradient, where a distance
needs it whole."""

_SHARE = 0.8
"""Share of the free memory that a run may take."""

SIDES = (2048, 1024, 512, 256, 128)
"""Sides of tiles, in pixels, to choose from. The larger they are, the fewer pixels are computed more than once."""


def choose_tile(
    config: Config, objective: Objective, network: VGG, pictures: Inputs, listener: Listener
) -> int | Literal["none"]:
    """Choose the side of a run's tiles in pixels, or "none" for a picture that is computed at once.

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
        return "none"
    layers, shape = objective.layers, pictures.content.shape
    computed = _count_bytes_computed(network, layers)
    state = math.prod(shape[:2]) * _count_bytes_kept(network, objective)
    largest = max(math.prod(picture.shape[:2]) for picture in (pictures.content, *pictures.styles))
    free = devices.available_memory() or math.inf
    reason = ""
    if config.tile == "auto" and not config.shard_picture:
        if (needed := largest * computed + state) <= _SHARE * free:
            return "none"
        reason = f", since at once it needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free"
    try:
        check_tiling(objective.terms, network)
    except UserError as error:
        if not reason:
            raise
        listener.warning(f"the picture may not fit into memory{reason.replace(', since', ':')}; {error}")
        return "none"
    sides = SIDES if config.tile == "auto" else (config.tile,)
    for side in sides:
        grid = make_grid(network, layers, shape, side)
        needed = math.prod(grid.window) * computed + state
        if grid.count >= objective.devices and needed <= _SHARE * free:
            break
    if grid.count > 1:
        height, width = grid.window
        listener.notice(
            f"computing the picture by {grid.count} tiles, each in a window of {width}x{height} pixels, which takes "
            f"about {needed / 2**30:.1f} GiB{reason}"
        )
    return side


def _count_bytes_computed(network: VGG, layers: Sequence[str]) -> float:
    """Return the bytes that a step takes for each pixel that the network computes."""
    values = max((network.architecture.count_values(layer) for layer in layers if layer != "input"), default=0)
    return _BYTES * values * (CPU_FACTOR if jax.default_backend() == "cpu" else 1)


def _count_bytes_kept(network: VGG, objective: Objective) -> float:
    """Return the bytes that a run keeps for each pixel of the picture."""
    total: float = _STATE
    for term in objective.terms:
        if isinstance(term, Term) and not is_sum_over_positions(term.statistic):
            values = sum(network.architecture.count_map_values(layer) for layer in term.layers if layer != "input")
            total += values * (_TARGET if is_additive(term) else _KEPT)
    return total
