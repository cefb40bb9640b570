import os
import subprocess
import sys
from pathlib import Path

import pytest

import nstjax

DRAW = """
import os
from nstjax.reports.curves import curves
curves("curves.svg", {"step": [0, 1], "total": [2.0, 1.0]})
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.get_backend())
"""


@pytest.mark.parametrize(
    ("backend", "seen"), [("nonsense", "agg"), ("module://nowhere_inline.backend_inline", None), ("svg", "svg")]
)
def test_curves_do_not_depend_on_the_backend_of_the_environment(tmp_path, backend, seen):
    environment = {**os.environ, "PYTHONPATH": str(Path(nstjax.__file__).parents[1]), "MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", DRAW], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path, "curves.svg").read_text().startswith("<?xml")
    # The environment stays as it was, and other drawings in this process get the backend that it names.
    assert done.stdout.split() in ([backend, seen], [backend, backend])
