"""The import of matplotlib, which draws sheets and curves, whatever the environment asks of it."""

import contextlib
import os
import sys
from types import ModuleType


def import_matplotlib() -> ModuleType:
    """Import matplotlib, even if MPLBACKEND names a backend that is not there: nothing here depends on a backend.

    It takes half a second, for which only those who draw should wait.
    """
    backend = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # for others in this process, as its import would have done
    return matplotlib
