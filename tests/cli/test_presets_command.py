"""The command that shows the settings of a preset."""

import shlex

import pytest

from nstjax import cli
from nstjax.cli import main, options
from nstjax.cli.presets import describe, format_options
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import load, presets


@pytest.mark.parametrize("name", presets())
def test_the_options_shown_give_the_settings_of_the_preset(name):
    config = load(name).config
    words = shlex.split(" ".join(format_options(config)))
    settings = options.read_settings(cli._parser().parse_args(["run", "content.png", "style.png", *words]))
    assert Config(**settings) == config


def test_the_settings_for_another_flavour_are_shown(capsys):
    assert main(["presets", "strotss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [*describe(load("strotss"))][:2] and lines[0].startswith("Kolkin et al.'s STROTSS")
    assert "for torchvision weights" in lines[1] and "--learning-rate 0.002" in lines
    assert lines[-1] == "with caffe weights: --loss-weights moments=0.0002"


def test_a_preset_that_does_not_exist_is_one_line(capsys):
    assert main(["presets", "x"]) == 2
    assert capsys.readouterr().err.startswith("nstjax: no preset 'x': expected one of ")
