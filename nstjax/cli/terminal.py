"""Progress of a run on stderr: bars on a terminal, lines anywhere else."""

import shlex
import sys
from typing import Any

from tqdm import tqdm

from nstjax.callbacks import TIMES, Listener, LogLine
from nstjax.cli.shared import to_line
from nstjax.system.signals import Signals


class Terminal(Listener):
    """A listener that shows a run on stderr and turns signals into a wish to stop.

    The first SIGINT or SIGTERM stops the run after the steps under way. A second one stops it at once, and so does the
    first while there are no steps to lose.

    Args:
        quiet: show warnings only.
    """

    def __init__(self, *, quiet: bool):
        self._signals = Signals()
        self.quiet = quiet
        self._bar: tqdm | None = None
        self._steps = 0

    def __enter__(self) -> "Terminal":
        self._signals.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()
        self._signals.__exit__(*exception)

    @property
    def signal(self) -> int | None:
        """The signal that asked for a stop; None if no signal came."""
        return self._signals.received

    def wants_to_stop(self) -> bool:
        return self.signal is not None

    def resumable(self, folder: str) -> None:
        self._signals.stop_message = f"nstjax: stopped; to go on: nstjax resume {to_line(shlex.quote(folder))}"
        self.notice(f"writing to {folder}")

    def notice(self, message: str) -> None:
        if not self.quiet:
            tqdm.write(to_line(message), file=sys.stderr)

    def warning(self, message: str) -> None:
        tqdm.write(f"nstjax: warning: {to_line(message)}", file=sys.stderr)

    def downloading(self, done: int, total: int | None) -> None:
        self._show(done, total, "weights", unit="B", unit_scale=True)

    def learning(self, done: int, total: int, layer: str) -> None:
        self._show(done, total, "learning filters", unit="layer")

    def compiling(self) -> None:
        self._close()
        self.notice("compiling")

    def started(self, done: int, steps: int) -> None:
        self._signals.graceful = True
        self._steps = steps
        self._show(done, steps, "steps", unit="step", initial=done)

    def advanced(self, step: int, losses: LogLine) -> None:
        if self._bar is None:  # closed while the next size was compiled
            self._show(step, self._steps, "steps", unit="step", initial=step)
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in losses.items()}, refresh=False)
            self._bar.update(step - self._bar.n)

    def logged(self, line: LogLine) -> None:
        step, seconds, wall, cpu = (line[name] for name in TIMES)
        losses = "  ".join(f"{name} {value:.5g}" for name, value in line.items() if name not in TIMES)
        self.notice(f"step {step}/{self._steps}  {losses}  {seconds:.3g} s/step  wall {wall:.1f} s  cpu {cpu:.1f} s")

    def finished(self) -> None:
        self._signals.graceful = False
        self._close()

    def _show(self, done: int, total: int | None, label: str, **style: Any) -> None:
        if self._bar is None or self._bar.desc != label:
            self._close()
            # None hides the bar where stderr is no terminal; there the logged lines show the progress.
            hidden = True if self.quiet else None
            self._bar = tqdm(total=total, desc=label, disable=hidden, dynamic_ncols=True, leave=False, **style)
            self._bar.desc = label
        self._bar.update(done - self._bar.n)
        if total is not None and done >= total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
