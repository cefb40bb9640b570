"""The command line's options for the settings: each field of ``Config`` is an option of the same name."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from nstjax.errors import UserError
from nstjax.experiment import plan
from nstjax.experiment.config import Config
from nstjax.experiment.settings import list_choices

_SHORTHANDS = ("content", "style", "tv")
"""Terms whose weight also has an option: --style-weight 1e4 is --loss-weights style=1e4."""

_NOTE = """
Each option below is a setting of the experiment, and changes that one setting. The defaults shown hold where the
experiment (--preset or --experiment) sets nothing else.
"""
_NOTE_OF_SWEEPS = "An option that takes several values makes members that differ in this setting."


def add(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add an option for every setting, in the groups of the settings.

    Options that the user does not give are absent from the parsed arguments.

    Args:
        parser: the command's parser.
        several: accept several values for the settings that may differ between members of a sweep.
    """
    more: dict[str, Any] = {"nargs": "+"} if several else {}
    parser.add_argument_group("Settings", _NOTE + _NOTE_OF_SWEEPS if several else _NOTE)
    groups: dict[str, Any] = {}
    for field in dataclasses.fields(Config):
        title = field.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        nargs = more if field.name in plan.SETTINGS else {}
        groups[title].add_argument("--" + field.name.replace("_", "-"), **_make_option(field), **nargs)
        if field.name == "loss_weights":
            _add_weights(groups[title], more)
        if field.name == "sizes":
            _add_size(groups[title])


def _add_weights(group: Any, more: dict[str, Any]) -> None:
    """Add the short options for the weights of terms."""
    for term in _SHORTHANDS:
        help = f"Weight of the term '{term}', short for --loss-weights {term}=W (default: the experiment's)"
        group.add_argument(
            f"--{term}-weight", type=_parse_number, default=argparse.SUPPRESS, metavar="W", help=help, **more
        )
    if more:
        help = "Several weights of any terms, such as tv=0.1,1 content=1,2 (default: none)"
        group.add_argument("--vary", type=_parse_axis, nargs="+", default=[], metavar="TERM=W,W,…", help=help)


def _add_size(group: Any) -> None:
    """Add the short option for the size of the result."""
    help = "Size of the result: the sizes change in proportion, and a range ends there (default: that of --sizes)"
    group.add_argument("--size", type=_parse_optional, default=argparse.SUPPRESS, metavar="N", help=help)


def _make_option(field: dataclasses.Field) -> dict[str, Any]:
    """Return argparse's arguments for the option of a setting."""
    settings = {"default": argparse.SUPPRESS, "help": field.metadata["help"] + _describe_default(field)}
    if field.type is bool:
        return {"action": argparse.BooleanOptionalAction, **settings}
    parse, metavar = _choose_parser(field)
    return {"type": parse, "metavar": metavar, **settings}


def _describe_default(field: dataclasses.Field) -> str:
    """Return the part of the help that says the default; empty where the setting's help says it itself."""
    default = field.default
    if default is dataclasses.MISSING or default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f" (default: {'on' if default else 'off'})"
    if isinstance(default, tuple):
        return f" (default: {','.join(map(str, default))})"
    return f" (default: {default:.4g})" if isinstance(default, float) else f" (default: {default})"


def read_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given, for ``Config.replace``."""
    given = {name: _unwrap(value) for name, value in vars(arguments).items() if not _is_several(value)}
    names = [*(field.name for field in dataclasses.fields(Config)), "size"]
    changes = {name: given[name] for name in names if name in given}
    weights = {term: given[f"{term}_weight"] for term in _SHORTHANDS if f"{term}_weight" in given}
    if weights:
        changes["loss_weights"] = {**changes.get("loss_weights", {}), **weights}
    return changes


def read_axes(arguments: argparse.Namespace) -> dict[str, list[Any]]:
    """Return {term or setting: values} of the options that were given several values, for ``sweep``."""
    several = {name: value for name, value in vars(arguments).items() if _is_several(value)}
    names = {f"{term}_weight": term for term in _SHORTHANDS} | {name: name for name in plan.SETTINGS}
    axes = {names[name]: value for name, value in several.items() if name in names}
    for term, values in arguments.vary:
        if term in axes:
            raise UserError(f"{term} is varied twice: give all its values in one --vary {term}=1,10")
        axes[term] = values
    return axes


def _is_several(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1


def _unwrap(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _parse_axis(text: str) -> tuple[str, list[float]]:
    term, equals, values = (part.strip() for part in text.partition("="))
    if not (term and equals and values):
        raise argparse.ArgumentTypeError(f"expected TERM=W,W,… as in style=1,10,100, not {text!r}")
    return term, [_parse_number(value) for value in values.split(",")]


def _choose_parser(field: dataclasses.Field) -> tuple[Callable[[str], Any], str]:
    """Return the function that reads an option's text, and the name of its value in the help."""
    if field.name in ("loss_weights", "finish_weights"):
        return lambda text: {term: _parse_number(value) for term, value in _split_pairs(text, ",").items()}, "TERM=W,…"
    if field.name == "layers":
        return lambda text: {t: tuple(v.split(",")) for t, v in _split_pairs(text, ";").items()}, "TERM=LAYER,…;…"
    if field.metadata["convert"]:
        return str, {"sizes": "N,…|N:N", "steps": "N|N,…", "tile": "N|auto|none"}[field.name]
    if field.type == tuple[int, ...]:
        return lambda text: _parse_several(text, _parse_whole), "N,…"
    if field.type == tuple[float, ...]:
        return lambda text: _parse_several(text, _parse_number), "X,…"
    if field.type is float:
        return _parse_number, "X"
    if field.type is int or (list_choices(field) and isinstance(field.default, int)):
        return _parse_whole, "N"
    if field.type == int | None:
        return _parse_optional, "N"
    return str, "NAME" if list_choices(field) else "NAME|FILE"


def _split_pairs(text: str, separator: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in text.split(separator) if part]
    if not pairs or not all(name and equals and value for name, equals, value in pairs):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE{separator}NAME=VALUE, not {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _parse_several(text: str, parse: Callable[[str], Any]) -> tuple[Any, ...]:
    return () if text == "none" else tuple(parse(part) for part in text.split(","))


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}") from None


def _parse_optional(text: str) -> int | None:
    return None if text == "none" else _parse_whole(text)


def _parse_whole(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}") from None
