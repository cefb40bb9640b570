"""What SIGINT and SIGTERM do: the first is a wish, heard between steps; the second ends the process.

Python runs a signal's handler only between two of its own instructions, so not while XLA compiles, which may take
minutes. A thread that the operating system wakes at once sees to it that a stop is a stop.
"""

import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

GRACE = 1.0
"""Seconds that a stop at once is given to close files before the process ends without."""


class Signals:
    """While entered, catches SIGINT and SIGTERM; only in the main thread.

    Args:
        received: the first one; None before.
        patient: whether the first one shall be a wish, since there are steps to finish; else it stops at once, too.
        farewell: printed at a stop at once.
    """

    def __init__(self):
        self.received: int | None = None
        self.patient = False
        self.farewell = "nstjax: stopped"
        self._handlers = {}
        self._leaving = False
        self._heard = 0
        self._arrived = 0

    def __enter__(self) -> "Signals":
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._former = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._handlers = {it: signal.signal(it, self._on_signal) for it in (signal.SIGINT, signal.SIGTERM)}
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for it, handler in self._handlers.items():
            signal.signal(it, handler)
        signal.set_wakeup_fd(self._former)
        if not self._leaving:  # else the watch goes on: what Python still does at its end may take long
            self._waker.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._heard += 1
        if self.patient and self.received is None:
            self.received = number
            return
        if not self._leaving:
            self._leaving = True
            # The exit may come amid something of Python's own that drops it with a traceback; the watch ends it then.
            sys.unraisablehook = lambda unraisable: None
            print(self.farewell, file=sys.stderr)
        raise SystemExit(128 + number)

    def _watch(self) -> None:
        with self._wake:
            while number := self._wake.recv(1):
                self._arrived += 1
                # A first one that is a wish is heard when the steps under way are made.
                if self._arrived > 1 or not self.patient:
                    threading.Thread(target=self._end, args=(number[0], self._arrived), daemon=True).start()

    def _end(self, number: int, count: int) -> None:
        time.sleep(GRACE)
        if self._leaving or self._heard < count:
            if not self._leaving:
                print(self.farewell, file=sys.stderr, flush=True)
            os._exit(128 + number)
