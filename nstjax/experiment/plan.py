"""What differs between the members of a sweep, as plain data."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nstjax.errors import UserError

SETTINGS = ("learning_rate", "seed", "init_noise", "init_deviation")
"""That may differ between members of one program, beside the weights of the terms and the pictures."""

PICTURES = ("content picture", "style picture")


@dataclass(frozen=True)
class Axis:
    """One thing that differs.

    Args:
        name: one of ``SETTINGS`` or ``PICTURES``, or the name of a term, whose weight differs then.
        values: what it is in turn; of pictures, their names, each of them once.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise UserError(f"{self.name} needs at least one value")
        if len(set(self.values)) < len(self.values):
            raise UserError(f"{self.name} has a value twice: {', '.join(map(shown, self.values))}")

    @property
    def label(self) -> str:
        """For people."""
        if self.name in SETTINGS or self.name in PICTURES:
            return self.name.replace("_", " ")
        return f"{self.name} weight"


def settings(assignment: dict[str, Any]) -> dict[str, Any]:
    """What an assignment {axis: value} is for ``Config.replace``; pictures are none of its business."""
    changed = {name: value for name, value in assignment.items() if name in SETTINGS}
    weights = {name: value for name, value in assignment.items() if name not in (*SETTINGS, *PICTURES)}
    return {**changed, **({"loss_weights": weights} if weights else {})}


def assignments(axes: Sequence[Axis], *, paired: bool) -> list[dict[str, Any]]:
    """{axis: value} of each member: every combination, the last axis fastest; or, paired, the first values, the second…

    Raises:
        UserError: axes of one name, or, paired, of different lengths.
    """
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise UserError(f"each axis of a sweep needs a name of its own: got {', '.join(names)}")
    lengths = {axis.name: len(axis.values) for axis in axes}
    if paired and len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise UserError(f"to pair values there must be as many of each, not {counts}")
    values = [axis.values for axis in axes]
    combined = zip(*values, strict=True) if paired and axes else itertools.product(*values)
    return [dict(zip(names, it, strict=True)) for it in combined]


def member_name(assignment: dict[str, Any]) -> str:
    """A folder's name for a member: style=100,learning_rate=0.02."""
    parts = [f"{name.removesuffix(' picture')}={shown(value)}" for name, value in assignment.items()]
    return ",".join(parts).replace("/", "_") or "only"


def shown(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return str(value)
