"""Flavours: an experiment's settings for its own weights and for others, and the line where it has none."""

from pathlib import Path

from quick_run import EXPERIMENT, QUICK

from nstjax import images
from nstjax.cli import main

ELSEWHERE = "warning: the loss weights of quick are meant for caffe weights: with torchvision ones"


def run_quick(capsys, *options, text=""):
    """Run the experiment for one step, with weights of torchvision's flavour; return what stderr says."""
    Path("quick.py").write_text(EXPERIMENT + text)
    assert main([*QUICK, "--steps", "1", "--out", f"out{len([*Path().glob('out*')])}", *options]) == 0
    return capsys.readouterr().err


def test_weights_that_an_experiment_is_not_meant_for_are_one_line(workspace, capsys):
    meant_for_caffe = 'flavour = "caffe"\n'
    error = run_quick(capsys, text=meant_for_caffe)
    (line,) = (line for line in error.splitlines() if "meant for" in line)
    assert ELSEWHERE in line and "by --weights" in line and "by --loss-weights" in line
    assert ELSEWHERE in run_quick(capsys, "--quiet", "--loss-weights", "tv=3", text=meant_for_caffe)
    # Whoever weights every term has done what the line says.
    assert "meant for" not in run_quick(capsys, "--loss-weights", "tv=3,style=4,content=5", text=meant_for_caffe)
    assert "meant for" not in run_quick(capsys, text='flavour = "torchvision"\n')
    assert "meant for" not in run_quick(capsys)


def test_loss_weights_for_a_flavour_are_shown(workspace, capsys):
    text = 'flavour = "caffe"\nflavours = {"torchvision": {"loss_weights": {"style": 3e7}}}\n'
    error = run_quick(capsys, "--loss-weights", "tv=5", text=text)
    assert "meant for caffe weights; with torchvision ones its loss weights are content=1,style=3e+07,tv=5\n" in error
    assert "warning" not in error


def test_a_sweep_says_the_line_once(workspace, capsys):
    Path("quick.py").write_text(EXPERIMENT + 'flavour = "caffe"\n')
    assert main(["sweep", *QUICK[1:], "--steps", "1", "--seed", "0", "1", "--out", "out"]) == 0
    assert capsys.readouterr().err.count(ELSEWHERE) == 1


def test_settings_for_a_flavour_may_change_the_size(workspace, capsys):
    run_quick(capsys, text='flavour = "caffe"\nflavours = {"torchvision": {"size": 20}}\n')
    assert max(images.read_size("out0/output.png")) == 20
    run_quick(capsys, "--size", "24", text='flavour = "caffe"\nflavours = {"torchvision": {"size": 20}}\n')
    assert max(images.read_size("out1/output.png")) == 24


def test_weights_without_a_layer_that_the_settings_do_not_name_are_refused(workspace, capsys):
    text = EXPERIMENT.replace('config.layers["style"]', '("relu3_1",)')
    Path("quick.py").write_text(text)
    assert main([*QUICK, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert "vgg.safetensors: layer relu3_1" in error and "name all layers of the terms" in error
    assert error.count("\n") == 1 and not Path("out").exists()
