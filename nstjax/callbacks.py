"""Who is told what a run does."""

import warnings
from typing import TypeAlias

Record: TypeAlias = dict[str, float]
"""A logged step: "step", "total", the value of each term before its weight, "seconds_per_step", and "wall_seconds" and
"cpu_seconds" since the first step began, those of earlier processes included."""

TIMES = ("step", "seconds_per_step", "wall_seconds", "cpu_seconds")
"""What of a record is no loss."""


class Listener:
    """Told what a run does; does nothing with it but to warn."""

    def warning(self, line: str) -> None:
        """Something that the user must know."""
        warnings.warn(line, stacklevel=2)

    def notice(self, line: str) -> None:
        """Something that the user should know."""

    def fetching(self, done: int, total: int | None) -> None:
        """So many bytes of the weights have come."""

    def learning(self, done: int, total: int, layer: str) -> None:
        """So many layers of the self-taught network are learnt; ``layer`` is the next."""

    def compiling(self) -> None:
        """The step is being compiled."""

    def keeping(self, folder: str) -> None:
        """From now on the run can be gone on with from this folder."""

    def started(self, done: int, steps: int) -> None:
        """The steps begin, after so many that were done before, up to so many."""

    def advanced(self, step: int, losses: Record) -> None:
        """So many steps are done; the last one's losses."""

    def logged(self, record: Record) -> None:
        """A step that is logged."""

    def wants_to_stop(self) -> bool:
        """Whether the run should end after the steps made so far."""
        return False

    def finished(self) -> None:
        """The steps are over."""
