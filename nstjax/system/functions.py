"""Functions that others have written: where they are defined, and which arguments they take."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from nstjax.errors import UserError


def describe_function(function: Any) -> str:
    """Return the name of a function and where it is defined: ``gram (moments.py, line 8)``.

    Args:
        function: a function, or an object with ``__call__``.
    """
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}, line {code.co_firstlineno})"


def find_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of a function; None if Python knows none, as of some functions written in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def has_argument(function: Callable[..., Any], name: str) -> bool:
    """Return whether a function has an argument of this name."""
    signature = find_signature(function)
    return signature is not None and name in signature.parameters


def check_arguments(function: Any, kind: str, *, positional: int, keywords: Sequence[str] = (), expected: str) -> None:
    """Raise if a function cannot be called with the given arguments.

    Args:
        function: the function.
        kind: what it is in the message, such as "the distance".
        positional: number of positional arguments.
        keywords: names of the keyword arguments.
        expected: the arguments that it should take, for the message.

    Raises:
        UserError: it cannot; the line says where it is defined.
    """
    if not callable(function):
        raise UserError(f"{kind} must be a function of {expected}, not {function!r}")
    signature = find_signature(function)
    if signature is None:
        return
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError:
        raise UserError(f"{kind} {describe_function(function)} must take {expected}, not {signature}") from None
