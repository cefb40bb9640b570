"""A run of a second or two through the command line, shared by the tests."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from nstjax.callbacks import TIMES, Listener

EXPERIMENT = '''"""Two shallow layers: quick."""
import nstjax

config = nstjax.Config(
    layers={"content": ("relu2_1",), "style": ("relu1_1", "relu2_1")},
    loss_weights={"content": 1.0, "style": 1.0, "tv": 0.1},
    steps=8,
    sizes=(32,),
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

QUICK = ["run", "content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
"""Arguments of a run in the folder of the fixture ``workspace``."""


def assert_same_run(picture, expected):
    """Assert that two pictures are of the same run, computed in another order, as a sweep's members are.

    Where a rounding error decides a ReLU, the winner of a pooling window or a tiny gradient that Adam makes a step of,
    some values go another way: measured are up to 0.012, and 0.0003 on average. Runs whose style weights differ tenfold
    are 0.03 apart on average.
    """
    difference = np.abs(picture - expected)
    assert difference.mean() < 1e-3 and difference.max() < 0.05, (difference.mean(), difference.max())


def with_devices(count):
    """Return the environment of a process that has ``count`` virtual devices."""
    return {**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"}


def start_two_processes(*arguments, devices=4, **environment):
    """Start the command line in two processes, each of which computes one of two parts."""
    return [
        subprocess.Popen(
            [sys.executable, "-m", "nstjax", *arguments, "--part", part],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**with_devices(devices), **environment},
        )
        for part in ("1/2", "2/2")
    ]


COMMANDS = """
import json, shutil, sys
from nstjax.cli import main
for command in json.loads(sys.argv[1]):
    print(*command, file=sys.stderr)
    if command[0] == "copy":
        shutil.copytree(*command[1:])
    elif main(command):
        sys.exit(1)
"""


def run_on_devices(count, *commands):
    """Run commands in one process with ``count`` virtual devices; return its stderr.

    The command ["copy", folder, copy] copies a folder.
    """
    arguments = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=with_devices(count))
    assert done.returncode == 0, done.stderr
    return done.stderr


def run_process(*arguments, **environment):
    """Run the command line in a new process and return the completed process."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nstjax", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def drop_import_times(stderr):
    """Return the lines of stderr without those of ``-X importtime``."""
    return [line for line in stderr.splitlines() if not line.startswith("import time:")]


def keep_copy(folder):
    """Copy a folder that tests may change; return both."""
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    return folder, copy


def restore_copy(folder, copy):
    """Return the folder, as it was when ``keep_copy`` copied it."""
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return folder


def read_losses(folder):
    """Return the logged lines of a run without their times."""
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES or name == "step"} for line in lines]


class StopAt(Listener):
    """A listener that asks to stop after ``step`` steps."""

    def __init__(self, step):
        self.step, self.steps_done = step, 0

    def started(self, done, steps):
        self.steps_done = done

    def advanced(self, step, losses):
        self.steps_done = step

    def wants_to_stop(self):
        return self.steps_done >= self.step
