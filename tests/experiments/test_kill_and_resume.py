"""A run that is killed while it does each of the things that it does is the run that was not, to the byte.

The long version, with its figures, is ``experiments/studies/kill_and_resume.py``; this is one kill at each place and
some at random.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import smooth_picture

from nstjax import images

SCRIPT = Path(__file__).parents[2] / "experiments" / "studies" / "kill_and_resume.py"


def test_killed_everywhere(tmp_path):
    images.save(tmp_path / "content.png", smooth_picture(40, 48))
    images.save(tmp_path / "style.png", smooth_picture(44, 36, seed=1))
    pictures = [str(tmp_path / "content.png"), str(tmp_path / "style.png")]
    command = [sys.executable, str(SCRIPT), *pictures, "--out", str(tmp_path / "runs"), "--size", "48"]
    command += ["--each", "1", "--random", "2", "--steps", "600", "--checkpoint-every", "30"]
    # Without the tests' compiled programs: a run is to be found compiling, too.
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = [
        dict(re.findall(r"^\| (.+?) \| (.+?) \|$", it, re.MULTILINE)) for it in done.stdout.split("of the two runs")
    ]
    for it in ("compilation", "chunk", "checkpoint", "snapshot", "metrics", "report"):
        assert int(tables[0][it]) >= 1
    for it in ("output.png", "final state", "snapshots", "sheet.png", "metrics"):
        assert tables[1][it] == "the same"
    assert tables[1]["leftovers of killed processes"] == "0"
