"""Declaration and checks of the settings, which are the fields of ``Config``."""

import dataclasses
import math
import typing
from typing import TYPE_CHECKING, Any

from nstjax.errors import UserError
from nstjax.network.architecture import parse_layer

if TYPE_CHECKING:
    from nstjax.experiment.config import Config

_MOST_STEPS = 2**31 - 1
_LARGEST = 3.4e38
"""Largest number in float32."""


def setting(group: str, default: Any, help: str, *, least: float | None = None, most: int | None = None) -> Any:
    """Declare a setting as a field of a dataclass.

    Args:
        group: title under which ``nstjax run --help`` shows the setting.
        default: the value where nothing else is given.
        help: a phrase that can be understood without its neighbours. Where the default is empty or None, the phrase
            says what happens by default; the help shows any other default after the phrase.
        least: smallest value; of several values, the smallest of each.
        most: largest value; None for the largest number in int32, or in float32.

    Returns:
        A dataclass field with all of this in its metadata.
    """
    metadata = {"group": group, "help": help, "least": least, "most": most}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def list_choices(field: dataclasses.Field) -> tuple[Any, ...]:
    """List the values that a setting may have; none where its type is no ``Literal``."""
    alternatives = [field.type, *typing.get_args(field.type)]
    return next((typing.get_args(kind) for kind in alternatives if typing.get_origin(kind) is typing.Literal), ())


def check(field: dataclasses.Field, value: Any) -> None:
    """Raise if the value of one setting is not of its kind, or out of its range.

    Raises:
        UserError: the value, or one of several values, is wrong.
    """
    option, least, most = field.name.replace("_", "-"), field.metadata["least"], field.metadata["most"]
    if list_choices(field) and value is not None and value not in list_choices(field):
        raise UserError(f"{option} must be one of {', '.join(map(str, list_choices(field)))}, not {value!r}")
    if least is None or value is None:
        return
    if typing.get_origin(field.type) is tuple:
        for number in value:
            _check_number(option, number, least, most, whole=field.type == tuple[int, ...])
    else:
        _check_number(option, value, least, most, whole=field.type in (int, int | None))


def _check_number(option: str, value: Any, least: float, most: int | None, *, whole: bool) -> None:
    # An int may be too large for math.isfinite.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf < value < math.inf:
        raise UserError(f"{option} must be a finite number, not {value!r}")
    if whole and not isinstance(value, int):
        raise UserError(f"{option} must be a whole number, not {value!r}")
    if value < least:
        raise UserError(f"{option} must be at least {least:g}, not {value}")
    limit = most or (_MOST_STEPS if whole else _LARGEST)
    if value > limit:
        raise UserError(f"{option} must be at most {limit:,}, not {value:,}")


def check_together(config: "Config") -> None:
    """Raise if settings exclude each other, or if one is above its maximum.

    Raises:
        UserError: names the settings, and what to do.
    """
    for name in ("beta1", "beta2", "momentum", "average_decay"):
        if getattr(config, name) >= 1:
            raise UserError(f"{name.replace('_', '-')} must be below 1, not {getattr(config, name):g}")
    if config.init_noise > 1:
        raise UserError(f"init-noise must be at most 1, not {config.init_noise:g}")
    if config.steps > _MOST_STEPS:  # the sum of size_steps
        raise UserError(f"steps must be at most {_MOST_STEPS:,}, not {config.steps:,}")
    for term, weight in config.loss_weights.items():
        if not abs(weight) <= _LARGEST:
            raise UserError(f"the weight of {term!r} must be a finite number, not {weight} (in float32)")
    for name in config.every_layer:
        if name != "input":
            parse_layer(name)
    snapshots, shares = config.snapshots, config.blend_shares
    if snapshots and not 0 <= snapshots[0] <= snapshots[-1] <= config.steps:
        raise UserError(f"snapshots must lie between 0 and {config.steps}, the number of steps, not {[*snapshots]}")
    if shares and not (min(shares) >= 0 < sum(shares)):
        raise UserError(f"blend-shares must be 0 or more, and at least one above 0, not {[*shares]}")
    if config.shard_picture and config.parameterisation != "pixels":
        raise UserError(f"shard-picture needs parameterisation pixels, not {config.parameterisation}")
    if config.convolution == "winograd" and (config.dtype != "float32" or config.shard_picture):
        other = "shard-picture" if config.shard_picture else f"dtype {config.dtype}"
        raise UserError(f"convolution winograd does not go with {other}: use direct or auto")
    if config.clamp and config.parameterisation != "pixels":
        raise UserError(f"clamp needs parameterisation pixels, not {config.parameterisation}: add --no-clamp")
    if config.optimiser == "lbfgs":
        _check_line_search(config)


def _check_line_search(config: "Config") -> None:
    """Raise if a setting excludes a line search.

    A line search needs a loss that the gradient belongs to, and finds the length of its steps itself.
    """
    for name, remedy in (
        ("clamp", "--no-clamp"),
        ("normalise_gradients", "--no-normalise-gradients"),
        ("schedule", "--schedule constant"),
    ):
        if getattr(config, name) not in (False, "constant"):
            option, value = name.replace("_", "-"), getattr(config, name)
            raise UserError(f"{option} ({value}) does not go with optimiser lbfgs: add {remedy}")
