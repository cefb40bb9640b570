"""Declaration and checks of the settings, which are the fields of ``Config``."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nstjax.arguments import (
    LARGEST_FLOAT,
    LARGEST_INTEGER,
    describe,
    to_choice,
    to_flag,
    to_mapping,
    to_names,
    to_number,
    to_plain,
    to_text,
    to_tuple,
)
from nstjax.errors import UserError
from nstjax.network.architecture import parse_layer

if TYPE_CHECKING:
    from nstjax.experiment.config import Config


def setting(
    group: str,
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: int | None = None,
    convert: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare a setting as a field of a dataclass.

    Args:
        group: title under which ``nstjax run --help`` shows the setting.
        default: the value where nothing else is given.
        help: a phrase that can be understood without its neighbours. Where the default is empty or None, the phrase
            says what happens by default; the help shows any other default after the phrase.
        least: smallest value; of several values, the smallest of each.
        most: largest value; None for the largest number in int32, or in float32.
        convert: checks a value, also a text of the command line, and returns it as plain data; None for what the type
            of the field asks for.

    Returns:
        A dataclass field with all of this in its metadata.
    """
    metadata = {"group": group, "help": help, "least": least, "most": most, "convert": convert}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def list_choices(field: dataclasses.Field) -> tuple[Any, ...]:
    """List the values that a setting may have; none where its type is no ``Literal``."""
    alternatives = [field.type, *typing.get_args(field.type)]
    return next((typing.get_args(kind) for kind in alternatives if typing.get_origin(kind) is typing.Literal), ())


def to_setting(field: dataclasses.Field, value: Any) -> Any:
    """Return the value of one setting as plain data.

    Raises:
        UserError: the value, or one of several values, is not of the setting's kind, or out of its range.
    """
    option, kind = field.name.replace("_", "-"), field.type
    if convert := field.metadata["convert"]:
        return convert(value)
    if value is None and types.NoneType in typing.get_args(kind):
        return None
    if choices := list_choices(field):
        return to_choice(option, value, choices)
    if kind is bool:
        return to_flag(option, value)
    if kind is str:
        return to_text(option, value)
    if typing.get_origin(kind) is Mapping:
        numeric = typing.get_args(kind)[1] is float
        convert = _to_weight if numeric else _to_layers
        return {term: convert(option, term, part) for term, part in to_mapping(option, value).items()}
    if typing.get_origin(kind) is tuple:
        return tuple(_to_number(field, number, whole=kind == tuple[int, ...]) for number in to_tuple(option, value))
    return _to_number(field, value, whole=kind in (int, int | None))


def _to_number(field: dataclasses.Field, value: Any, *, whole: bool) -> Any:
    limits = {"least": field.metadata["least"], "most": field.metadata["most"]}
    return to_number(field.name.replace("_", "-"), value, **limits, whole=whole)


def _to_weight(option: str, term: str, value: Any) -> Any:
    weight = to_plain(value)
    if isinstance(weight, int | float) and not abs(weight) <= LARGEST_FLOAT:
        raise UserError(f"the weight of {term!r} must be a finite number, not {describe(value)} (in float32)")
    return to_number(f"the weight of {term!r} in {option}", value)


def _to_layers(option: str, term: str, value: Any) -> tuple[str, ...]:
    return to_names(f"the entry of {term!r} in {option}", value)


def to_tile(value: Any) -> Any:
    """Return the pixels of a tile along each side, "auto", or "none".

    Raises:
        UserError: the value is none of these.
    """
    tile = to_plain(value)
    if tile is None or tile in ("auto", "none"):
        return tile or "none"
    if isinstance(tile, str):
        if not tile.isdecimal():
            raise UserError(f"tile must be a number of pixels, auto or none, not {describe(value)}")
        tile = int(tile)
    return to_number("tile", tile, least=1, whole=True)


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
    if config.total_steps > LARGEST_INTEGER:
        raise UserError(f"steps must be at most {LARGEST_INTEGER:,} at all sizes together, not {config.total_steps:,}")
    for name in config.every_layer:
        if name != "input":
            parse_layer(name)
    snapshots, shares = config.snapshots, config.blend_shares
    if snapshots and not 0 <= snapshots[0] <= snapshots[-1] <= config.total_steps:
        between = f"between 0 and {config.total_steps}, the number of steps"
        raise UserError(f"snapshots must lie {between}, not {[*snapshots]}")
    if shares and not (min(shares) >= 0 < sum(shares)):
        raise UserError(f"blend-shares must be 0 or more, and at least one above 0, not {[*shares]}")
    if config.shard_picture and config.tile == "none":
        raise UserError("shard-picture shares out tiles, and tile is none: add --tile auto, or --no-shard-picture")
    if config.tile != "none" and config.tile != "auto" and config.normalise_gradients:
        raise UserError(
            "tile does not go with normalise-gradients, which needs the gradient at all positions at once: add "
            "--tile none, or --no-normalise-gradients"
        )
    if config.clamp and config.parameterisation != "pixels":
        raise UserError(f"clamp needs parameterisation pixels, not {config.parameterisation}: add --no-clamp")
    if config.restart_optimiser and config.schedule != "constant":
        raise UserError(
            f"restart-optimiser does not go with schedule {config.schedule}, which would start again too: add "
            "--schedule constant, or --no-restart-optimiser"
        )
    if config.optimiser == "lbfgs":
        _check_lbfgs(config)


def _check_lbfgs(config: "Config") -> None:
    """Raise if a setting excludes L-BFGS, or its line search.

    A line search needs a loss that the gradient belongs to, and may not be led out of the range of a clamped picture.
    """
    if config.schedule != "constant":
        raise UserError(f"schedule ({config.schedule}) does not go with optimiser lbfgs: add --schedule constant")
    for name in ("clamp", "normalise_gradients") if config.line_search else ():
        if getattr(config, name):
            option = name.replace("_", "-")
            raise UserError(
                f"{option} does not go with the line search of optimiser lbfgs: add --no-{option} or --no-line-search"
            )
