"""The listener: the object that a run reports to. Subclass `Listener` to show progress or to stop a run early."""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from nstjax.arguments import check_kind

LogLine: TypeAlias = dict[str, float]
"""A logged step: "step", "total", the value of each term before its weight, "seconds_per_step", and "wall_seconds" and
"cpu_seconds" since the first step began, including those of earlier processes. Terms that take no part are absent."""

TIMES = ("step", "seconds_per_step", "wall_seconds", "cpu_seconds")
"""The entries of a logged line that are not losses."""


def collect_values(lines: Sequence[LogLine]) -> dict[str, list[float]]:
    """Return the values of logged lines by name, NaN where a line has none: a term that takes no part there."""
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: [line.get(name, math.nan) for line in lines] for name in names}


class Listener:
    """A listener that does nothing except pass warnings on to ``warnings.warn``."""

    def warning(self, message: str) -> None:
        """Handle a message that the user must see."""
        warnings.warn(message, stacklevel=2)

    def notice(self, message: str) -> None:
        """Handle a message that the user should see."""

    def downloading(self, done: int, total: int | None) -> None:
        """Handle the progress of a download of weights.

        Args:
            done: number of bytes that have arrived.
            total: number of bytes in all; None if unknown.
        """

    def learning(self, done: int, total: int, layer: str) -> None:
        """Handle the progress of the self-taught network.

        Args:
            done: number of layers that are learnt.
            total: number of layers to learn.
            layer: name of the next layer.
        """

    def compiling(self) -> None:
        """Handle the start of a compilation."""

    def resumable(self, folder: str) -> None:
        """Learn that from now on the run can be resumed from this folder."""

    def started(self, done: int, steps: int) -> None:
        """Handle the start of the loop.

        Args:
            done: number of steps that were made before.
            steps: number of steps of the whole run.
        """

    def advanced(self, step: int, losses: LogLine) -> None:
        """Handle the end of a chunk.

        Args:
            step: number of steps made so far.
            losses: total and terms of the last step.
        """

    def logged(self, line: LogLine) -> None:
        """Handle a logged step."""

    def wants_to_stop(self) -> bool:
        """Return whether the run should end after the steps made so far."""
        return False

    def finished(self) -> None:
        """Handle the end of the loop."""


def to_listener(listener: Any) -> Listener:
    """Return a listener that passes everything on to another, and goes on if that one cannot write its output.

    Args:
        listener: the other listener; None for ``Listener()``.

    Raises:
        UserError: the argument is no listener.
    """
    if listener is not None:
        check_kind("listener", listener, Listener, "a nstjax.callbacks.Listener")
    other, protected = listener or Listener(), Listener()
    for name in vars(Listener):
        if not name.startswith("_"):
            setattr(protected, name, _drop_lost_output(getattr(other, name)))
    return protected


def _drop_lost_output(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that warns and returns None where the terminal, pipe or file that it writes to is lost."""

    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except (OSError, ValueError) as error:
            # What print raises: OSError, for a character that cannot be shown, or because the stream is closed.
            if not isinstance(error, OSError | UnicodeEncodeError) and "closed file" not in str(error):
                raise
            warnings.warn(f"the listener could not write its output ({error}): the run goes on without", stacklevel=2)
            return None

    return call
