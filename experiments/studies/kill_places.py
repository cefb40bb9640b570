"""The command line in a process that pauses at a named place, to be killed there.

    python experiments/studies/kill_places.py PLACE NTH COMMAND …

runs ``nstjax COMMAND …``. When the process reaches the place for the n-th time it prints a line and waits.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from nstjax import cli
from nstjax.storage.run_folder import RunFolder

FILES = {
    "beginning": r"/(inputs/[^/]+|(config|group|sweep)\.json)$",
    "records": r"/(config|group)\.json$",
    "checkpoint": r"/checkpoints/",
    "snapshot": r"/snapshots/",
    "result": r"/output\.png$",
    "report": r"/(sheet|curves|report|grid|table)\.[a-z]+$",
}
"""Places at which a file or a folder is made, renamed or removed: {place: pattern of the path}."""

CALLS = ("compilation", "chunk", "metrics", "change of size", "change of group")
"""The other places, at which a function has done its work or half of it."""

SIGNAL = "paused\n"
"""The line that a process prints when it has reached its place."""


def wait_for_kill() -> None:
    """Print that the place is reached, and wait to be killed."""
    print(SIGNAL, end="", flush=True)
    time.sleep(3600)


def make_counter(nth: int) -> Callable[[], None]:
    """Return a function that waits to be killed when it is called for the n-th time."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            wait_for_kill()

    return count


def pause_after_calls(owner: Any, name: str, count: Callable[[], None]) -> None:
    """Call `count` in a function, after its work and before it returns."""
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        count()
        return result

    setattr(owner, name, call)


def pause_in_log(nth: int) -> None:
    """Pause in the n-th line of the metrics, after half of the line is written."""
    log, count = RunFolder.log, make_counter(nth)
    calls = 0

    def log_half(folder: RunFolder, line: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            with folder.metrics.open("a") as file:
                file.write(json.dumps(dict(line))[: 20 + nth])
        count()
        log(folder, line)

    setattr(RunFolder, "log", log_half)  # noqa: B010


def pause_in_files(pattern: str, count: Callable[[], None]) -> None:
    """Call `count` before a file or folder whose path matches is opened for writing, made, renamed or removed."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.mkdir", "os.rename", "shutil.rmtree") and not isinstance(arguments[0], int):
            if event == "open" and "r" in str(arguments[1] or "r"):
                return
            if any(re.search(pattern, str(path)) for path in arguments[:2]):
                count()

    sys.addaudithook(hook)


def run_with_pause(place: str, nth: int, arguments: list[str]) -> int:
    """Run the command line with a pause at the given place, or with none if there is no such place."""
    if place in FILES:
        pause_in_files(FILES[place], make_counter(nth))
    elif place == "metrics":
        pause_in_log(nth)
    elif place in CALLS:
        import jax

        from nstjax import multiscale

        owner, name = {
            "compilation": (jax.stages.Lowered, "compile"),
            "chunk": (jax, "block_until_ready"),
            "change of size": (multiscale, "resize_state"),
            "change of group": (RunFolder, "lock"),
        }[place]
        pause_after_calls(owner, name, make_counter(nth))
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(run_with_pause(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
