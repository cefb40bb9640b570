"""Commands that read a run's folder again and again while the run makes its steps and is killed.

    python experiments/studies/kill_watcher.py status|report DIR STOP

repeats ``nstjax status DIR`` or ``nstjax report DIR`` in one process until the file STOP exists or its parent has
ended, and prints how often there was a run to read. A traceback, a warning, or an error other than that no run has
begun ends it with exit code 1.
"""

import contextlib
import io
import os
import re
import sys
import time
from pathlib import Path

from nstjax import cli

EXPECTED = "no run in|was stopped as it began|no member of .* can be reported|the state of .* is not there"
"""Errors of a folder in which nothing has begun."""


def main(command: str, folder: str, stop: Path) -> int:
    """Repeat the command until the file exists or the parent has ended."""
    count, parent = 0, os.getppid()
    while not stop.exists() and os.getppid() == parent:
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = cli.main([command, folder])
        lines = errors.getvalue().splitlines()
        if lines if code == 0 else code != 2 or len(lines) != 1 or not re.search(EXPECTED, lines[0]):
            print(f"{command} ended with {code}:", output.getvalue(), errors.getvalue(), file=sys.stderr)
            return 1
        count += code == 0
        time.sleep(1)
    print(count)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
