"""The kinds of long runs that are killed: their commands, and how soon each reaches the places of a kill."""

from dataclasses import dataclass, field

RUN = {
    "beginning": (1, 6),
    "compilation": (1, 2),
    "chunk": (1, 3),
    "checkpoint": (1, 8),
    "snapshot": (1, 2),
    "metrics": (1, 4),
    "records": (1, 1),
    "result": (1, 1),
    "report": (1, 3),
}
"""The places that a single run reaches: {place: (first, last visit at which its process is killed)}."""

SIZES = {"change of size": (1, 1)}

SWEEP = RUN | {
    "beginning": (1, 20),
    "compilation": (1, 1),
    "metrics": (1, 8),
    "change of group": (2, 2),
    "records": (1, 4),
    "result": (1, 3),
    "report": (1, 12),
}
"""The places that a sweep of two groups reaches."""

AT_THE_END = ("result", "report")
"""Places that a single run reaches only once all steps are made."""


@dataclass(frozen=True)
class Kind:
    """A kind of long run.

    Args:
        command: the name of the command.
        options: its options; the steps follow from those of the study.
        steps: steps of each size, as a part of the study's.
        places: the places where it is killed.
        watched: whether other processes read its status and write its report meanwhile.
    """

    command: str
    options: str
    steps: float
    places: dict[str, tuple[int, int]] = field(repr=False)
    watched: bool = False

    @property
    def record(self) -> str:
        """Name of the file without which nothing can be resumed."""
        return "sweep.json" if self.command == "sweep" else "config.json"

    def list_arguments(self, *, size: int, steps: int) -> list[str]:
        """Return the arguments of the command, without pictures, weights and folder.

        Args:
            size: size of the result in pixels; the first of several sizes is half of it.
            steps: number of steps of the study.
        """
        at_each_size = max(20, round(self.steps * steps))
        options = self.options.format(size=size, smallest=size // 2).split()
        parts = {"checkpoint": 40, "snapshot": 20, "log": 80}
        intervals = [
            text for name, part in parts.items() for text in (f"--{name}-every", str(at_each_size // part or 1))
        ]
        return [self.command, *options, "--steps", f"{at_each_size},", *intervals]


_COARSE_TO_FINE = "--preset default --sizes {smallest}:{size}:1.41"
_LONG = "--preset long-run --size {size} --snapshots none"
_SWEEP = "--preset default --sizes {smallest}:{size}:2 --style-weight 0.3 1 3 --init noise --group-size 2"

KINDS = {
    "one size": Kind("run", _LONG, 1.0, RUN),
    "several sizes": Kind("run", _COARSE_TO_FINE, 0.5, RUN | SIZES),
    "L-BFGS": Kind("run", f"{_LONG} --optimiser lbfgs --keep best", 0.25, RUN),
    "L-BFGS, fixed steps": Kind(
        "run",
        f"{_COARSE_TO_FINE} --parameterisation pixels --optimiser lbfgs --no-line-search --schedule constant",
        0.25,
        RUN | SIZES,
    ),
    "sweep": Kind("sweep", _SWEEP, 0.25, SWEEP | SIZES),
    "watched run": Kind("run", _COARSE_TO_FINE, 0.5, RUN | SIZES, watched=True),
    "watched sweep": Kind("sweep", _SWEEP, 0.25, SWEEP | SIZES, watched=True),
}
"""The kinds of runs."""
