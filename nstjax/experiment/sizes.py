"""The sizes that a run goes through, from coarse to fine, and the steps at each: plain arithmetic.

Sizes are a tuple, or a range as text, "128:512" or "128:512:2" with the ratio of successive sizes. Without sizes a run
has one, that of the content picture. Steps are a number in all, or a tuple whose last number repeats.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from nstjax.arguments import describe, to_number, to_plain, to_tuple
from nstjax.errors import UserError

_RATIO = math.sqrt(2)
"""Ratio of successive sizes of a range that names none."""


def to_sizes(value: Any) -> tuple[int, ...] | str:
    """Return sizes as a tuple, or as the shortest text of a range.

    Args:
        value: a size; several from coarse to fine; a text of them, or of a range; None, "none" or () for no size.

    Raises:
        UserError: the value is none of these.
    """
    if value is None:
        return ()
    if not isinstance(value, str):
        sizes = tuple(to_number("sizes", size, least=1, whole=True) for size in to_tuple("sizes", value))
        if list(sizes) != sorted(sizes):
            raise UserError(f"sizes must go from coarse to fine, not {describe([*sizes])}: sort them")
        return sizes
    text = value.strip()
    if text == "none":
        return ()
    if ":" in text:
        return _format_range(*_parse_range(text))
    try:
        sizes = tuple(map(int, text.split(",")))
    except ValueError:
        raise _refuse_sizes(text) from None
    return to_sizes(sizes)


def to_size(value: Any) -> int | None:
    """Return the size of a result; None for that of the content picture, which "none" stands for too.

    Raises:
        UserError: the value is no size.
    """
    if value is None or (isinstance(value, str) and value == "none"):
        return None
    return to_number("size", value, least=1, whole=True)


def list_sizes(sizes: tuple[int, ...] | str) -> tuple[int | None, ...]:
    """List the sizes from coarse to fine; a single None stands for the content picture's."""
    if not isinstance(sizes, str):
        return sizes or (None,)
    smallest, largest, ratio = _parse_range(sizes)
    downwards = (round(largest / ratio**power) for power in itertools.count())
    return tuple(itertools.takewhile(lambda size: size >= smallest, downwards))[::-1]


def scale_sizes(sizes: tuple[int, ...] | str, size: int | None) -> tuple[int, ...] | str:
    """Return the sizes of a run whose result has another size.

    Several sizes change in proportion. A range keeps its smallest size, unless that is larger.
    """
    if size is None:
        return ()
    if isinstance(sizes, str):
        smallest, _, ratio = _parse_range(sizes)
        return _format_range(min(smallest, size), size, ratio)
    return tuple(max(round(size * old / sizes[-1]), 1) for old in sizes) or (size,)


def to_steps(value: Any) -> int | tuple[int, ...]:
    """Return steps as their number in all, or as a tuple of the steps at each size.

    Args:
        value: a number; several; or a text of them: "500", "200,100", or "250," for 250 at each size.

    Raises:
        UserError: the value is none of these.
    """
    steps = to_plain(value)
    if isinstance(steps, str):
        steps = _parse_steps(steps)
    if isinstance(steps, bytes) or not isinstance(steps, Sequence):
        return to_number("steps", steps, least=0, whole=True)
    if not steps:
        raise UserError("steps must be a number in all, or one for each size, as in 500 or 200,100, not none")
    return tuple(to_number("steps", number, least=0, whole=True) for number in steps)


def format_steps(steps: int | Sequence[int]) -> str:
    """Return steps as the text that ``to_steps`` takes."""
    if isinstance(steps, int):
        return str(steps)
    return ",".join(map(str, steps)) + ("," if len(steps) == 1 else "")


def share_steps(steps: int | tuple[int, ...], count: int, *, kind: str = "sizes") -> tuple[int, ...]:
    """Return the steps at each of so many sizes, or of so many of another kind.

    A number in all is shared equally, and the last size gets the remainder; of a tuple, the last number repeats.

    Raises:
        UserError: there are steps for more sizes.
    """
    if isinstance(steps, int):
        share = steps // count
        return (share,) * (count - 1) + (steps - share * (count - 1),)
    if len(steps) > count:
        there = "is 1" if count == 1 else f"are {count}"
        raise UserError(f"steps are given for {len(steps)} {kind}, but there {there}: give fewer steps, or more sizes")
    return steps + steps[-1:] * (count - len(steps))


def change_steps(old: int | tuple[int, ...], new: int | tuple[int, ...] | None, count: int) -> int | tuple[int, ...]:
    """Return the steps of a run that may get other steps, and another number of sizes.

    Args:
        old: the steps that the run has. The first entry belongs to the first size: with fewer sizes, the last ones go.
        new: what replaces them; a number in all is shared in the proportions of the old ones. None for the old ones.
        count: number of sizes.
    """
    present = old if isinstance(old, int) else old[:count]
    if new is None:
        return present
    if isinstance(present, int) or not isinstance(new, int):
        return new
    ends = [*itertools.accumulate(share_steps(present, count))]
    if not ends[-1]:
        return share_steps(new, count)
    # Rounded down, so that the last size, at which the result is made, has a step if there are any.
    ends = [0, *(new * end // ends[-1] for end in ends)]
    return tuple(after - before for before, after in itertools.pairwise(ends))


def _refuse_sizes(text: str) -> UserError:
    expected = "whole numbers from coarse to fine, as in 512 or 128,256,512, or a range, as in 128:512 or 128:512:2"
    return UserError(f"sizes must be {expected}, not {describe(text)}")


def _parse_range(text: str) -> tuple[int, int, float]:
    """Return the smallest size, the largest and the ratio of successive sizes of a range.

    Raises:
        UserError: the text is no range.
    """
    try:
        smallest, largest, *ratios = text.split(":")
        ends = int(smallest), int(largest)
        (ratio,) = map(float, ratios or [_RATIO])
    except ValueError:
        raise _refuse_sizes(text) from None
    smallest, largest = (to_number("sizes", end, least=1, whole=True) for end in ends)
    ratio = to_number("the ratio of sizes", ratio, least=1.01)
    if smallest > largest:
        raise UserError(f"sizes must go from coarse to fine, not {describe(text)}: give {largest}:{smallest}")
    return smallest, largest, ratio


def _format_range(smallest: int, largest: int, ratio: float) -> str:
    return f"{smallest}:{largest}" + ("" if ratio == _RATIO else f":{ratio!r}".removesuffix(".0"))


def _parse_steps(text: str) -> int | list[int]:
    first, *others = text.split(",")
    if others and not others[-1].strip():
        others.pop()
    try:
        steps = [int(part) for part in (first, *others)]
    except ValueError:
        expected = "a number in all, or one for each size, as in 500 or 200,100"
        raise UserError(f"steps must be {expected}, not {describe(text)}") from None
    return steps if "," in text else steps[0]
