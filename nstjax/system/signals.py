"""Handling of SIGINT, SIGTERM and SIGHUP: the first requests a stop after the current steps; the second ends a process.

SIGHUP says that the terminal was closed. Where it is ignored (nohup) it stays ignored, and a second one does nothing,
because a terminal that closes sends several.

Python runs a signal handler only between two of its own instructions, and therefore not while XLA compiles, which may
take minutes. A thread that the operating system wakes immediately makes sure that the process ends anyway.
"""

import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

GRACE = 1.0
"""Seconds to close files after an immediate stop, before the process is ended."""


STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that stop a run; Windows has no SIGHUP."""

_HANGUP = getattr(signal, "SIGHUP", None)


class Signals:
    """A context that catches SIGINT, SIGTERM and SIGHUP; for the main thread only.

    Args:
        received: number of the first signal that requested a stop; None before.
        graceful: whether the first signal only requests a stop, because there are steps to finish; otherwise it stops
            the process immediately.
        stop_message: printed at an immediate stop.
    """

    def __init__(self):
        self.received: int | None = None
        self.graceful = False
        self.stop_message = "nstjax: stopped"
        self._handlers = {}
        self._leaving = False
        self._heard = 0
        self._arrived = 0

    def __enter__(self) -> "Signals":
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._former = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        caught = [number for number in STOPS if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN]
        self._handlers = {number: signal.signal(number, self._on_signal) for number in caught}
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former)
        if not self._leaving:  # otherwise keep watching: Python's own shutdown may take long
            self._waker.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == _HANGUP and self._heard:
            return
        self._heard += 1
        if self.graceful and self.received is None:
            self.received = number
            return
        if not self._leaving:
            self._leaving = True
            # SystemExit may be raised where Python drops it and prints a traceback; the watcher then ends the process.
            sys.unraisablehook = lambda unraisable: None
            print(self.stop_message, file=sys.stderr)
        raise SystemExit(128 + number)

    def _watch(self) -> None:
        with self._wake:
            while number := self._wake.recv(1):
                if number[0] == _HANGUP and self._arrived:
                    continue
                self._arrived += 1
                # A first signal that only requests a stop is handled once the current steps are done.
                if self._arrived > 1 or not self.graceful:
                    threading.Thread(target=self._end, args=(number[0], self._arrived), daemon=True).start()

    def _end(self, number: int, count: int) -> None:
        time.sleep(GRACE)
        if self._leaving or self._heard < count:
            if not self._leaving:
                print(self.stop_message, file=sys.stderr, flush=True)
            os._exit(128 + number)
