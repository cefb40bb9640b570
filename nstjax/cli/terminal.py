"""What a run shows on a terminal: bars that move where there is one, lines where there is none."""

import shlex
import sys
from typing import Any

from tqdm import tqdm

from nstjax.callbacks import TIMES, Listener, Record
from nstjax.system.signals import Signals


class Terminal(Listener):
    """Shows a run on stderr, and makes of the first SIGINT or SIGTERM a wish to stop after the steps under way.

    A second one stops at once, and so does the first while there are no steps to lose.

    Args:
        quiet: show warnings only.
    """

    def __init__(self, *, quiet: bool):
        self._signals = Signals()
        self._quiet = quiet
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
        """The signal that asked for a stop; None where none did."""
        return self._signals.received

    def wants_to_stop(self) -> bool:
        return self.signal is not None

    def keeping(self, folder: str) -> None:
        self._signals.farewell = f"nstjax: stopped; to go on: nstjax resume {shlex.quote(folder)}"

    def notice(self, line: str) -> None:
        if not self._quiet:
            tqdm.write(line, file=sys.stderr)

    def warning(self, line: str) -> None:
        tqdm.write(f"nstjax: warning: {line}", file=sys.stderr)

    def fetching(self, done: int, total: int | None) -> None:
        self._show(done, total, "weights", unit="B", unit_scale=True)

    def learning(self, done: int, total: int, layer: str) -> None:
        self._show(done, total, "learning filters", unit="layer")

    def compiling(self) -> None:
        self._close()
        self.notice("compiling")

    def started(self, done: int, steps: int) -> None:
        self._signals.patient = True
        self._steps = steps
        self._show(done, steps, "steps", unit="step", initial=done)

    def advanced(self, step: int, losses: Record) -> None:
        if self._bar is None:  # closed where the next size was compiled
            self._show(step, self._steps, "steps", unit="step", initial=step)
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in losses.items()}, refresh=False)
            self._bar.update(step - self._bar.n)

    def logged(self, record: Record) -> None:
        step, each, wall, cpu = (record[name] for name in TIMES)
        losses = "  ".join(f"{name} {value:.5g}" for name, value in record.items() if name not in TIMES)
        self.notice(f"step {step}/{self._steps}  {losses}  {each:.3g} s/step  wall {wall:.1f} s  cpu {cpu:.1f} s")

    def finished(self) -> None:
        self._signals.patient = False
        self._close()

    def _show(self, done: int, total: int | None, what: str, **style: Any) -> None:
        if self._bar is None or self._bar.desc != what:
            self._close()
            # Where stderr is no terminal the bar stays away; the logged lines say how far it is.
            hidden = True if self._quiet else None
            self._bar = tqdm(total=total, desc=what, disable=hidden, dynamic_ncols=True, leave=False, **style)
            self._bar.desc = what
        self._bar.update(done - self._bar.n)
        if total is not None and done >= total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
