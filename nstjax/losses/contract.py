"""The contract of terms that others have written: what an objective needs of them before it is traced."""

import contextlib
from collections.abc import Iterator
from typing import Any

from nstjax.errors import UserError
from nstjax.losses.lifting import takes_key
from nstjax.statistics import PerLayer, is_sum_over_positions
from nstjax.system.functions import check_arguments, has_argument
from nstjax.types import AnyTerm, PictureTerm


def check_term(term: AnyTerm) -> None:
    """Raise if a term is not made as an objective needs it.

    Raises:
        UserError: a field has another type, or a function does not take the arguments that it will get.
    """
    if not isinstance(term.name, str):
        raise UserError(f"the name of a term must be a text, not {term.name!r}")
    if isinstance(term, PictureTerm):
        check_arguments(term.loss, f"the loss of the term {term.name!r},", positional=1, expected="(picture)")
        return
    if callable(term.target):
        _check_target(term.target, term.name)
    elif term.target not in ("content", "style"):
        raise UserError(
            f"the target of the term {term.name!r} must be content, style or a function, not {term.target!r}"
        )
    _check_statistic(term.statistic, term.name)
    _check_distance(term.distance, term.name)


def _check_statistic(statistic: Any, term: str) -> None:
    features, weights = "features", "weights"
    if isinstance(statistic, PerLayer):
        statistic, features, weights = statistic.statistic, "features_HxWxC", "weight_HxW"
    is_sum = is_sum_over_positions(statistic)
    check_arguments(
        statistic,
        f"the statistic of the term {term!r},",
        positional=1,
        keywords=(weights,) if is_sum else (),
        expected=f"({features}, *, {weights}=None), as it is marked @sums_over_positions"
        if is_sum
        else f"({features})",
    )


def takes_start(target: Any) -> bool:
    """Return whether a target depends on the picture at the start of a size: whether it has an argument ``start``."""
    return has_argument(target, "start")


def _check_target(target: Any, term: str) -> None:
    check_arguments(
        target,
        f"the target of the term {term!r},",
        positional=3,
        keywords=("start",) if takes_start(target) else (),
        expected="(network, content, style), or (network, content, style, start)",
    )


def _check_distance(distance: Any, term: str) -> None:
    check_arguments(
        distance,
        f"the distance of the term {term!r},",
        positional=2,
        keywords=("key",) if takes_key(distance) else (),
        expected="(x, t), or (x, t, key) to draw random numbers",
    )
    if (lifted := getattr(distance, "distance", None)) is not None:
        _check_distance(lifted, term)


@contextlib.contextmanager
def error_context(term: AnyTerm) -> Iterator[None]:
    """Add the name of the term to an error that is raised in it, and what its likely cause is."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the term {term.name!r}")
        if isinstance(error, TypeError | AttributeError) and "dict" in str(error):
            # The commonest slip: functions of one layer in a term, whose functions get all its layers.
            error.add_note("is nstjax.layer_sum missing around the distance, or nstjax.per_layer around the statistic?")
        raise
