"""What a run shows on a terminal: bars that move where there is one, lines where there is none."""

import signal
import sys
from types import FrameType
from typing import Any

from tqdm import tqdm

from nstjax.listener import Listener, Record


class Terminal(Listener):
    """Shows a run on stderr, and makes of the first SIGINT or SIGTERM a wish to stop after the steps under way.

    A second one stops at once, and so does the first while there are no steps to lose.

    Args:
        quiet: show warnings only.
    """

    def __init__(self, *, quiet: bool):
        self.signal: int | None = None
        self._quiet = quiet
        self._bar: tqdm | None = None
        self._handlers = {}
        self._stepping = False
        self._steps = 0

    def __enter__(self) -> "Terminal":
        self._handlers = {it: signal.signal(it, self._on_signal) for it in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()
        for it, handler in self._handlers.items():
            signal.signal(it, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None or not self._stepping:
            print("nstjax: stopped", file=sys.stderr)
            raise SystemExit(128 + number)
        self.signal = number

    def wants_to_stop(self) -> bool:
        return self.signal is not None

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

    def started(self, steps: int) -> None:
        self._stepping = True
        self._steps = steps
        self._show(0, steps, "steps", unit="step")

    def advanced(self, step: int, losses: Record) -> None:
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in losses.items()}, refresh=False)
            self._bar.update(step - self._bar.n)

    def logged(self, record: Record) -> None:
        values = dict(record)
        step, wall, cpu, each = (values.pop(it) for it in ("step", "wall_seconds", "cpu_seconds", "seconds_per_step"))
        losses = "  ".join(f"{name} {value:.5g}" for name, value in values.items())
        self.notice(f"step {step}/{self._steps}  {losses}  {each:.3g} s/step  wall {wall:.1f} s  cpu {cpu:.1f} s")

    def finished(self) -> None:
        self._stepping = False
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
