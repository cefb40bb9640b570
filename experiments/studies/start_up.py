"""The time from a command to its first step, with nothing compiled before and with all programs compiled before.

    python experiments/studies/start_up.py CONTENT STYLE

starts ``nstjax run`` in a new process, notes when each line appears on stderr, and stops it after the first step: once
with an empty compilation cache, then a few times with the programs that this left. Prints a table.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARKS = {"folder": r"nstjax: writing to|^writing to", "compilation": r"^compiling", "first step": r"^step 0/"}
"""The lines at which the folder is there, a compilation begins, and the first step is made."""


def time_marks(command: list[str]) -> dict[str, float]:
    """Return {mark: seconds from the start of the command until its line appears for the first time}."""
    begun, seconds = time.monotonic(), {}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            for mark, pattern in MARKS.items():
                if mark not in seconds and re.search(pattern, line):
                    seconds[mark] = time.monotonic() - begun
            if "first step" in seconds:
                process.kill()
                return seconds
    raise SystemExit(f"{' '.join(command)} made no step:\n{''.join(lines)}")


def main() -> None:
    """Run the command again and again, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=3, help="runs with the programs compiled before")
    arguments = parser.parse_args()
    print(f"| programs | {' | '.join(f'until the {mark}, s' for mark in MARKS)} |")
    print("|---" * (len(MARKS) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + arguments.repeats):
            command = [sys.executable, "-m", "nstjax", "run", arguments.content, arguments.style]
            command += ["--size", str(arguments.size), "--compilation-cache", str(Path(folder, "programs"))]
            seconds = time_marks([*command, "--out", str(Path(folder, str(number)))])
            when = "compiled" if number else "not compiled"
            print(f"| {when} before | {' | '.join(f'{seconds[mark]:.1f}' for mark in MARKS)} |", flush=True)


if __name__ == "__main__":
    main()
