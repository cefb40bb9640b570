"""The axes of a sweep and the members that they define, as plain data."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nstjax.arguments import to_number
from nstjax.errors import UserError
from nstjax.system.files import join_names

SETTINGS = ("learning_rate", "seed", "init_noise", "init_deviation")
"""Settings that may differ between members of one program, in addition to the loss weights and the pictures."""

PICTURES = ("content picture", "style picture")


@dataclass(frozen=True)
class Axis:
    """One thing that differs between the members of a sweep.

    Args:
        name: one of ``SETTINGS`` or ``PICTURES``, or the name of a term whose weight differs.
        values: values along the axis, each different; for pictures, their names.
    """

    name: str
    values: tuple[str | float, ...]

    def __post_init__(self):
        values = (value if isinstance(value, str) else to_number(self.name, value) for value in self.values)
        object.__setattr__(self, "values", tuple(values))
        if not self.values:
            raise UserError(f"{self.name} needs at least one value")
        if len(set(self.values)) < len(self.values):
            raise UserError(f"{self.name} has a value twice: {', '.join(map(format_value, self.values))}")

    @property
    def label(self) -> str:
        """Readable name of the axis."""
        if self.name in SETTINGS or self.name in PICTURES:
            return self.name.replace("_", " ")
        return f"{self.name} weight"


def to_settings(assignment: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Config.replace`` for an assignment {axis: value}; pictures are left out."""
    changed = {name: value for name, value in assignment.items() if name in SETTINGS}
    weights = {name: value for name, value in assignment.items() if name not in (*SETTINGS, *PICTURES)}
    return {**changed, **({"loss_weights": weights} if weights else {})}


def combine_axes(axes: Sequence[Axis], *, paired: bool) -> list[dict[str, Any]]:
    """Return the assignment {axis: value} of each member.

    Args:
        axes: axes of the sweep, with different names.
        paired: take the first value of every axis, then the second of every axis, and so on; otherwise every
            combination, in which the last axis varies fastest.

    Raises:
        UserError: two axes have the same name, or paired axes have different lengths.
    """
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise UserError(f"the axes of a sweep need different names: got {', '.join(names)}")
    lengths = {axis.name: len(axis.values) for axis in axes}
    if paired and len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise UserError(f"paired values need the same number of each, not {counts}")
    values = [axis.values for axis in axes]
    combined = zip(*values, strict=True) if paired and axes else itertools.product(*values)
    return [dict(zip(names, combination, strict=True)) for combination in combined]


def member_name(assignment: dict[str, Any]) -> str:
    """Return the folder name of a member: style=100,learning_rate=0.02."""
    parts = [f"{name.removesuffix(' picture')}={format_value(value)}" for name, value in assignment.items()]
    return join_names(parts, ",") or "only"


def format_value(value: Any) -> str:
    """Return a value as text; a whole number has no decimal point."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return str(value)
