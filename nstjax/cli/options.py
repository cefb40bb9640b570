"""The command line's options for the settings: each field of ``Config`` is an option of the same name."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from nstjax.experiment import plan
from nstjax.experiment.config import Config

_SHORTHANDS = ("content", "style", "tv")
"""Terms whose weight has an option of its own: --style-weight 1e4 is --loss-weights style=1e4."""


def add(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add an option for every setting; those not given are absent from the parsed arguments.

    Args:
        several: whether those that may differ within a sweep take several values.
    """
    more: dict[str, Any] = {"nargs": "+"} if several else {}
    group = parser.add_argument_group("settings", "each changes the experiment's; no setting has another default here")
    for field in dataclasses.fields(Config):
        name, meta = "--" + field.name.replace("_", "-"), field.metadata
        if field.type is bool:
            group.add_argument(
                name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=meta["help"]
            )
            continue
        parse, metavar = _kind(field)
        group.add_argument(
            name,
            type=parse,
            default=argparse.SUPPRESS,
            metavar="|".join(meta["choices"]) or metavar,
            help=meta["help"],
            **(more if field.name in plan.SETTINGS else {}),
        )
    for term in _SHORTHANDS:
        group.add_argument(f"--{term}-weight", type=_number, default=argparse.SUPPRESS, metavar="W", **more)
    if several:
        help = "values of any term's weight; --style-weight and the like are short for it"
        group.add_argument("--vary", type=_axis, nargs="+", default=[], metavar="TERM=W,W,…", help=help)


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, for ``Config.replace``."""
    given = {name: _single(value) for name, value in vars(arguments).items() if not _is_several(value)}
    found = {field.name: given[field.name] for field in dataclasses.fields(Config) if field.name in given}
    weights = {term: given[f"{term}_weight"] for term in _SHORTHANDS if f"{term}_weight" in given}
    if weights:
        found["loss_weights"] = {**found.get("loss_weights", {}), **weights}
    return found


def varied(arguments: argparse.Namespace) -> dict[str, list[Any]]:
    """{term or setting: values} of those that were given several, for ``sweep``."""
    several = {name: value for name, value in vars(arguments).items() if _is_several(value)}
    names = {f"{term}_weight": term for term in _SHORTHANDS} | {name: name for name in plan.SETTINGS}
    found = {names[name]: value for name, value in several.items() if name in names}
    return {**found, **dict(arguments.vary)}


def _is_several(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _axis(text: str) -> tuple[str, list[float]]:
    ((term, values),) = _pairs(text, ";").items()
    return term, [_number(value) for value in values.split(",")]


def _kind(field: dataclasses.Field) -> tuple[Callable[[str], Any], str]:
    """How an option's text is read, and how its value is shown in the help."""
    if field.name == "loss_weights":
        return lambda text: {term: _number(value) for term, value in _pairs(text, ",").items()}, "TERM=W,…"
    if field.name == "layers":
        return lambda text: {t: tuple(v.split(",")) for t, v in _pairs(text, ";").items()}, "TERM=LAYER,…;…"
    if field.type == tuple[int, ...]:
        return lambda text: _several(text, _whole), "STEP,…" if field.name == "snapshots" else "N,…"
    if field.type == tuple[float, ...]:
        return lambda text: _several(text, _number), "X,…"
    if field.type is float:
        return _number, "X"
    if field.type is int:
        return _whole, "N"
    if field.type == int | None:
        return lambda text: None if text == "none" else _whole(text), "N"
    return str, field.name.upper()


def _pairs(text: str, separator: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in text.split(separator) if part]
    if not pairs or not all(name and equals and value for name, equals, value in pairs):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE{separator}NAME=VALUE, not {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _several(text: str, one: Callable[[str], Any]) -> tuple[Any, ...]:
    return () if text == "none" else tuple(one(it) for it in text.split(","))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}") from None


def _whole(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}") from None
