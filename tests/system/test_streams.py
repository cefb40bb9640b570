"""Whatever happens to stdout and stderr, a process writes on, ends with its exit code, and harms no file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from quick_run import QUICK

import nstjax

CHATTER = """
import os, sys
from nstjax.system.streams import protect_streams
protect_streams()
kept = open("kept", "w")
import logging, warnings
from tqdm import tqdm
for stream in (sys.stdout, sys.stderr):
    for _ in range(3000):
        print("a line of a log", file=stream, flush=True)
    tqdm.write("a line above a bar", file=stream)
    for _ in tqdm(range(3), file=stream):
        pass
warnings.warn("a warning")
logging.warning("a logged line")
os.system("echo a line of another program >&2")
kept.write("all lines are written")
"""


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(nstjax.__file__).parents[1])}


@pytest.mark.parametrize(
    "redirection",
    [">/dev/full", "2>/dev/full", ">&-", "2>&-", "<&- >&- 2>&-", "2>&1 | head -1; exit ${PIPESTATUS[0]}"],
)
def test_a_process_goes_on_without_its_streams(tmp_path, redirection):
    command = f'"{sys.executable}" -c "$CHATTER" {redirection}'
    environment = {**ENVIRONMENT, "CHATTER": CHATTER}
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "Error" not in done.stderr
    assert Path(tmp_path, "kept").read_text() == "all lines are written"  # and no line of a log is among them


def test_a_process_goes_on_after_its_terminal_was_closed(tmp_path):
    pty = pytest.importorskip("pty")
    code = CHATTER.replace("kept =", "sys.stdin.read()\nkept =")
    terminal, inside = pty.openpty()
    streams = {"stdin": subprocess.PIPE, "stdout": inside, "stderr": inside}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, **streams)
    os.close(inside)
    os.close(terminal)
    process.communicate(timeout=60)  # it begins to write only now
    assert process.returncode == 0
    assert Path(tmp_path, "kept").read_text() == "all lines are written"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_character_that_a_stream_cannot_show_is_shown_as_another(encoding):
    code = "from nstjax.system.streams import protect_streams as p; p(); print('caf\\xe9 \\u2713 \\udcff.png')"
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    letters = "caf\xe9 \u2713 ".encode(encoding, errors="backslashreplace")
    assert done.stdout == letters + b"\xff.png\n"  # the undecodable byte of a name is printed as it is


def test_a_run_without_streams_makes_all_its_steps(workspace):
    command = f"exec {sys.executable} -m nstjax {' '.join(QUICK)} --out out >/dev/full 2>&-"
    assert subprocess.run(["bash", "-c", command]).returncode == 0
    assert Path("out/output.png").exists() and Path("out/report.html").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_are_in_the_log_at_once(tmp_path, unbuffered):
    code = "import os, sys\nfrom nstjax.system.streams import protect_streams\nprotect_streams()\n"
    code += "print('a line', file=sys.stderr)\nos._exit(0)\n"  # nothing is flushed at the end
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered}
    with Path(tmp_path, "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", code], stderr=log, env=environment, check=True, timeout=60)
    assert Path(tmp_path, "log").read_text() == "a line\n"
