"""Tests of runs by tiles: their choice, the lines about them, resumes, several devices."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from quick_run import QUICK, run_on_devices

import nstjax
from nstjax import images
from nstjax.callbacks import Listener
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import load
from nstjax.experiment.record import parse_config

# Average pooling, from noise: another order of sums must not become another maximum, or another sign of a gradient.
CALM = ["--init", "noise", "--pooling", "average", "--learning-rate", "0.005"]
SETTINGS = {"init": "noise", "pooling": "average", "learning_rate": 0.005, "weights": "vgg.safetensors"}
TILES = ["--tile", "8"]


class Recorder(Listener):
    def __init__(self):
        self.notices, self.warnings = [], []

    def notice(self, text):
        self.notices.append(text)

    def warning(self, text):
        self.warnings.append(text)


def read(folder):
    return images.read(f"{folder}/output.png").rgb


def assert_equal_pictures(first, second):
    # A value half-way between two levels may be rounded to either.
    np.testing.assert_allclose(first, second, atol=1.01 / 255)


def test_a_run_by_tiles_through_two_sizes_equals_the_whole_one_and_resumes_to_the_byte(workspace, capsys):
    command = [*QUICK, *CALM, "--sizes", "16,32", "--keep", "average", "--snapshots", "2,5"]
    assert main([*command, "--steps", "3,5", "--out", "whole"]) == 0
    assert "tiles" not in capsys.readouterr().err
    assert main([*command, *TILES, "--steps", "3,5", "--out", "tiles"]) == 0
    said = capsys.readouterr().err
    assert "by 6 tiles, each in a window of 16x16 pixels\n" in said
    assert re.search(r"the 5 steps at 32x24 pixels will take about \d+ s and \d\.\d GiB\n", said)
    assert main([*command, *TILES, "--steps", "3,2", "--out", "parts"]) == 0
    assert main(["resume", "parts", "--steps", "8"]) == 0
    assert_equal_pictures(read("tiles"), read("whole"))
    for snapshot in ("000002", "000005"):
        assert_equal_pictures(*(images.read(f"{run}/snapshots/{snapshot}.png").rgb for run in ("tiles", "whole")))
    np.testing.assert_array_equal(read("parts"), read("tiles"))
    assert json.loads(Path("parts/config.json").read_text())["config"]["tile"] == 8
    assert json.loads(Path("whole/config.json").read_text())["config"]["tile"] == "none"


def test_a_run_by_tiles_that_diverges_gives_its_last_picture(workspace, capsys):
    """Without tiles it gives the one before, of which a large state has no copy."""
    assert main([*QUICK, *TILES, "--out", "out", "--learning-rate", "1e30"]) == 1
    assert "the picture at that step is out/output.png" in capsys.readouterr().err
    # A step of this length takes every colour to an end of its range.
    assert set(np.unique(read("out"))) <= {0.0, 1.0}


def test_pictures_that_do_not_fit_into_memory_are_computed_by_tiles(workspace, monkeypatch):
    monkeypatch.setattr("nstjax.experiment.tiles.SIDES", (16, 8, 4))
    run = {"experiment": "quick.py", "steps": 3, **SETTINGS}
    whole = nstjax.stylize("content.png", "style.png", **run)
    # By the estimate, the 24x32 pixels need 1.5 MB at once, and 0.6 MB in windows of 16x16 pixels.
    monkeypatch.setattr("nstjax.experiment.tiles.devices", SimpleNamespace(available_memory=lambda: 10**6))
    listener = Recorder()
    tiles = nstjax.stylize("content.png", "style.png", **run, listener=listener)
    assert (tiles.record["config"]["tile"], tiles.record["config"]["recompute_content"]) == (8, False)
    (line,) = [line for line in listener.notices if "tiles" in line]
    assert "at once it needs about 0.0 GiB and 0.0 GiB are free" in line
    assert_equal_pictures(tiles.picture, whole.picture)
    # 0.64 MB are enough for them without the maps of the content alone (0.60; 0.69 with them), or for smaller windows,
    # which would take longer.
    monkeypatch.setattr("nstjax.experiment.tiles.devices", SimpleNamespace(available_memory=lambda: 8e5))
    smaller = nstjax.stylize("content.png", "style.png", **run, listener=listener)
    assert (smaller.record["config"]["tile"], smaller.record["config"]["recompute_content"]) == (8, True)
    assert any("with the content's maps computed at every step" in line for line in listener.notices)
    assert_equal_pictures(smaller.picture, whole.picture)
    at_once = nstjax.stylize("content.png", "style.png", **run, tile="none")
    assert at_once.record["config"]["tile"] == "none"


def test_a_term_that_cannot_be_computed_by_tiles_is_named_before_anything_is_computed(workspace, monkeypatch, capsys):
    text = Path("quick.py").read_text().replace("nstjax.statistics.gram", "maxima")
    Path("quick.py").write_text(f"{text}\ndef maxima(F):\n    return F.max((0, 1))\n")
    assert main([*QUICK, *TILES, "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the term 'style' cannot be computed by tiles, as its statistic maxima" in line
    assert not Path("out").exists()
    monkeypatch.setattr("nstjax.experiment.tiles.devices", SimpleNamespace(available_memory=lambda: 10**5))
    listener = Recorder()
    run = {"experiment": "quick.py", "steps": 0, **SETTINGS}
    assert nstjax.stylize("content.png", "style.png", **run, listener=listener).record["config"]["tile"] == "none"
    assert any("may not fit into memory: at once" in line for line in listener.warnings)


def test_an_objective_that_sees_the_picture_alone_is_computed_by_tiles_too(workspace):
    text = Path("quick.py").read_text()
    text = text.replace(
        '"content": ("relu2_1",), "style": ("relu1_1", "relu2_1")', '"content": ("input",), "style": ("input",)'
    )
    Path("quick.py").write_text(text)
    pictures = [
        nstjax.stylize("content.png", "style.png", experiment="quick.py", steps=3, tile=tile, **SETTINGS).picture
        for tile in ("auto", 8)
    ]
    assert_equal_pictures(*pictures)


def test_a_sweep_by_tiles_equals_the_whole_one_and_does_not_share_out_pictures(workspace):
    pictures = []
    for tile in ("none", 8):
        sweep = nstjax.sweep(
            "content.png", "style.png", vary={"style": [1, 10]}, experiment="quick.py", steps=3, tile=tile, **SETTINGS
        )
        pictures.append([result.picture for result in sweep.members])
    assert_equal_pictures(*pictures)
    with pytest.raises(UserError, match=r"spreads its members over the devices.*--no-shard-picture"):
        nstjax.sweep("content.png", "style.png", vary={}, experiment="quick.py", shard_picture=True, **SETTINGS)


def test_tiles_shared_out_among_devices_give_the_same_picture_and_resume_to_the_byte(workspace):
    """Six tiles on eight devices: tiles without pixels fill the last places."""
    run = [*QUICK, *CALM, *TILES, "--parameterisation", "fourier", "--shard-picture"]
    begin = [*run, "--steps", "5", "--out", "parts"]
    run_on_devices(8, [*run, "--out", "devices"], begin, ["resume", "parts", "--steps", "8"])
    assert main([*QUICK, *CALM, "--parameterisation", "fourier", "--out", "whole"]) == 0
    assert_equal_pictures(read("devices"), read("whole"))
    np.testing.assert_array_equal(read("parts"), read("devices"))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"tile": 0}, "tile must be at least 1"),
        ({"tile": "large"}, "tile must be a number of pixels, auto or none, not 'large'"),
        ({"tile": 2.5}, "tile must be a whole number, not 2.5"),
        ({"tile": "none", "shard_picture": True}, "add --tile auto, or --no-shard-picture"),
        ({"tile": 64, "normalise_gradients": True}, "tile does not go with normalise-gradients"),
    ],
)
def test_wrong_settings_of_tiles_are_one_line(settings, line):
    with pytest.raises(UserError, match=line):
        Config(**settings)


def test_settings_of_tiles_are_read_from_text_and_records_have_none_left_open():
    assert [Config(tile=value).tile for value in ("64", 64, None, "none")] == [64, 64, "none", "none"]
    with pytest.raises(UserError, match="tile is auto"):
        parse_config({"config": json.loads(json.dumps(load("tutorial").config.__dict__))})
