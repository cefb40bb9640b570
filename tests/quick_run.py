"""A run of a second or two, through the command line, for the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

from nstjax.callbacks import TIMES, Listener

EXPERIMENT = '''"""Two shallow layers: quick."""
import nstjax

config = nstjax.Config(
    layers={"content": ("relu2_1",), "style": ("relu1_1", "relu2_1")},
    loss_weights={"content": 1.0, "style": 1.0, "tv": 0.1},
    steps=8,
    size=32,
)

def terms(config):
    gram, same = nstjax.per_layer(nstjax.statistics.gram), nstjax.per_layer(nstjax.statistics.feature_map)
    content, style = nstjax.losses.variance_scaled, nstjax.losses.relative_squared
    return (
        nstjax.Term("content", config.layers["content"], same, nstjax.layer_sum(content), "content"),
        nstjax.Term("style", config.layers["style"], gram, nstjax.layer_sum(style), "style"),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_mean_squared),
    )
'''

TOLERANCE = 1 / 255
"""Of a sweep's member beside its single run: batched sums run in another order, and Adam turns a rounding of a tiny
gradient into a step of its own."""

QUICK = ["run", "content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
"""In the folder that the fixture ``place`` makes."""


def process(*arguments, **environment):
    """Run the command line in a process of its own; returns it, ended."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nstjax", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def without_import_times(stderr):
    return [line for line in stderr.splitlines() if not line.startswith("import time:")]


def losses(folder):
    """Each logged line of a run without its times."""
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [{name: it for name, it in line.items() if name not in TIMES or name == "step"} for line in lines]


class StopAt(Listener):
    """Wants to stop once so many steps are made."""

    def __init__(self, step):
        self.step, self.made = step, 0

    def started(self, done, steps):
        self.made = done

    def advanced(self, step, losses):
        self.made = step

    def wants_to_stop(self):
        return self.made >= self.step
