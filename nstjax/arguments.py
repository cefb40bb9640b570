"""Arguments that callers pass from Python: plain values of them, or one clear line.

Scalars and arrays of NumPy and JAX count as numbers and lists of numbers, a path may be a ``Path``, and one value may
stand for several. Everything else is refused by a ``UserError`` that names the argument. No array library is imported.
"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from nstjax.errors import UserError

LARGEST_INTEGER = 2**31 - 1
"""Largest number in int32."""

LARGEST_FLOAT = 3.4e38
"""Largest number in float32."""

_LONGEST = 60
"""Number of characters of a value that a message shows."""


def describe(value: Any) -> str:
    """Return a value as a message shows it: short, and on one line."""
    shape, dtype = getattr(value, "shape", ()), getattr(value, "dtype", None)
    if is_traced(value):
        return "a traced value: call this outside of jit, grad and vmap"
    if dtype is not None and isinstance(shape, tuple) and shape:
        return f"an array of {dtype} {[*shape]}"
    try:
        text = " ".join(repr(to_plain(value)).split())
    except Exception:  # a number with thousands of digits, or an object that cannot show itself
        return f"a very long {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def is_traced(value: Any) -> bool:
    """Return whether a value is one of JAX's tracers, which have no numbers yet."""
    return any(kind.__name__ == "Tracer" and kind.__module__.startswith("jax") for kind in type(value).__mro__)


def to_plain(value: Any) -> Any:
    """Return a scalar or an array of NumPy or JAX as Python's numbers, and anything else as it is."""
    if is_traced(value) or not callable(getattr(value, "tolist", None)):
        return value
    return value.tolist()


def to_number(
    name: str, value: Any, *, least: float | None = None, most: float | None = None, whole: bool = False
) -> Any:
    """Return a number as an int or a float.

    Args:
        name: name of the argument.
        value: the argument.
        least: smallest value.
        most: largest value; None for the largest number in int32, or in float32.
        whole: whether only whole numbers will do.

    Raises:
        UserError: the value is no such number.
    """
    number, kind = to_plain(value), "a whole number" if whole else "a number"
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise UserError(f"{name} must be {kind}, not {describe(value)}")
    if not -math.inf < number < math.inf:  # an int may be too large for math.isfinite
        raise UserError(f"{name} must be a finite number, not {describe(value)}")
    if whole and not isinstance(number, int):
        raise UserError(f"{name} must be {kind}, not {describe(value)}")
    if least is not None and number < least:
        raise UserError(f"{name} must be at least {least:g}, not {describe(value)}")
    most = most or (LARGEST_INTEGER if whole else LARGEST_FLOAT)
    if number > most:
        raise UserError(f"{name} must be at most {most:,}, not {describe(value)}")
    return number


def to_flag(name: str, value: Any) -> bool:
    """Return True or False.

    Raises:
        UserError: the value is neither.
    """
    flag = to_plain(value)
    if not isinstance(flag, bool):
        raise UserError(f"{name} must be True or False, not {describe(value)}")
    return flag


def to_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return one of several texts or numbers.

    Raises:
        UserError: the value is none of them.
    """
    choice = to_plain(value)
    if isinstance(choice, bool) or not isinstance(choice, str | int) or choice not in choices:
        raise UserError(f"{name} must be one of {', '.join(map(str, choices))}, not {describe(value)}")
    return choice


def to_text(name: str, value: Any) -> str:
    """Return a text or a path as text.

    Raises:
        UserError: the value is neither, or it is empty.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise UserError(f"{name} must be a name or a path, not {describe(value)}")
    return text


def to_tuple(name: str, value: Any) -> tuple[Any, ...]:
    """Return several values as a tuple; a single number or text stands for itself alone.

    Raises:
        UserError: the value is neither a list nor a number or text.
    """
    values = to_plain(value)
    if isinstance(values, str | int | float):
        return (values,)
    if isinstance(values, bytes) or not isinstance(values, Sequence):
        raise UserError(f"{name} must be a value or a list of values, not {describe(value)}")
    return tuple(values)


def to_names(name: str, value: Any) -> tuple[str, ...]:
    """Return one or more names as a tuple.

    Raises:
        UserError: the value is no name and no list of names.
    """
    names = to_tuple(name, value)
    if not names or not all(isinstance(part, str) for part in names):
        raise UserError(f"{name} must be a name or several, as in ('relu1_1',), not {describe(value)}")
    return names


def to_mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping from texts as a dict.

    Raises:
        UserError: the value is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{name} must be a dict {{name: value}}, not {describe(value)}")
    return dict(value)


def check_kind(name: str, value: Any, kind: Any, expected: str) -> None:
    """Raise unless a value is of a kind.

    Args:
        name: name of the argument.
        value: the argument.
        kind: its class, or several, as for ``isinstance``.
        expected: what the message says that the argument must be.

    Raises:
        UserError: the value is not.
    """
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {expected}, not {describe(value)}")


def settle_number(instance: Any, name: str, **limits: Any) -> None:
    """Check a field of a frozen dataclass that must be a number, and make it a plain one.

    Args:
        instance: the dataclass, while it is constructed.
        name: name of the field.
        limits: keyword arguments of ``to_number``.

    Raises:
        UserError: the field is no such number.
    """
    object.__setattr__(instance, name, to_number(name, getattr(instance, name), **limits))


class Counts:
    """A base of frozen dataclasses whose fields are whole numbers from 1 on."""

    def __post_init__(self):
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            settle_number(self, field.name, least=1, whole=True)
