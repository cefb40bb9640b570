"""Plain data from JSON files, with the types of all their parts checked in one place.

A file may have been damaged, or written by hand. What ``parse_json`` returns has the types that its reader names, so no
other code asks whether a part is there, or what it is.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

_LARGEST = 2**63


def parse_json(text: str | bytes, kind: Any) -> Any:
    """Return the value of a JSON text as a type.

    Args:
        text: the text.
        kind: see ``convert``.

    Raises:
        ValueError: the text is no JSON, or its value is not of this type; the message is a phrase.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return convert(value, kind, "it")


def convert(value: Any, kind: Any, name: str) -> Any:
    """Return plain data as a type.

    Args:
        value: numbers, texts, None, lists and dictionaries, as ``json.loads`` returns them.
        kind: a plain type; a tuple, mapping, union or ``Literal`` of types; a dataclass, which is made of a dictionary;
            or a ``TypedDict``, whose further entries are left as they are.
        name: name of the value in messages.

    Raises:
        ValueError: the value is not of this type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return _convert_entries(value, kind, name)
    if origin in (Union, types.UnionType):
        for alternative in arguments:
            try:
                return convert(value, alternative, name)
            except ValueError:
                continue
    elif origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(convert(item, arguments[0], f"an entry of {name}") for item in value)
    elif origin in (dict, Mapping):
        if isinstance(value, dict):
            return {key: convert(item, arguments[1], key) for key, item in value.items()}
    elif _is_plain(value, kind):
        return value
    text = repr(value)
    raise ValueError(f"{name} must be {_describe(kind)}, not {text if len(text) <= 60 else text[:60] + '…'}")


def _convert_entries(value: Any, kind: Any, name: str) -> Any:
    hints = typing.get_type_hints(kind)
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a dictionary")
    required = getattr(kind, "__required_keys__", hints.keys())
    if missing := [key for key in hints if key in required and key not in value]:
        raise ValueError(f"{name} has no {missing[0]}")
    entries = {key: convert(value[key], hint, key) for key, hint in hints.items() if key in value}
    if not dataclasses.is_dataclass(kind):
        return value
    try:
        return typing.cast("Any", kind)(**entries)
    except TypeError as error:
        raise ValueError(f"{name} cannot be made of {entries}: {error}") from None


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is float and type(value) in (int, float):
        return abs(value) < _LARGEST or isinstance(value, float)
    return type(value) is kind and (kind is not int or abs(value) < _LARGEST)


def _describe(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_describe, arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}
    return names.get(kind, "a list" if origin is tuple else "a dictionary")
