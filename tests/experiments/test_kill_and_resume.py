"""A run that is killed at any place and resumed ends with the same bytes as one that is not killed.

This makes one kill at each place of a run that writes something, and one of a sweep through two sizes that is read
meanwhile; the study ``experiments/studies/kill_and_resume.py`` makes many, of more kinds of runs.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import smooth_picture

from nstjax import images

SCRIPT = Path(__file__).parents[2] / "experiments" / "studies" / "kill_and_resume.py"
PLACES = {
    "one size": [
        "beginning",
        "compilation",
        "checkpoint",
        "snapshot",
        "metrics",
        "records",
        "result",
        "report",
    ],
    "watched sweep": ["change of size"],
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_run_killed_at_every_place_ends_with_the_same_bytes(tmp_path, kind):
    images.save(tmp_path / "content.png", smooth_picture(40, 48))
    images.save(tmp_path / "style.png", smooth_picture(44, 36, seed=1))
    pictures = [str(tmp_path / "content.png"), str(tmp_path / "style.png")]
    command = [sys.executable, str(SCRIPT), *pictures, "--out", str(tmp_path / "runs"), "--size", "40"]
    command += ["--kind", kind, "--each", "1", "--random", "0", "--steps", "80"]
    command += [word for place in PLACES[kind] for word in ("--place", place)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kills, comparison = (
        dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
        for text in done.stdout.split("of the killed runs")
    )
    assert all(int(kills[place]) == 1 for place in PLACES[kind])
    for result in ("output.png", "states of the checkpoints", "snapshots", "metrics", "report.html, without times"):
        assert comparison[result] == "the same"
    assert comparison["leftovers of killed processes"] == "none"
