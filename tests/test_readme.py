"""Every command and every listing of the README works."""

import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import random_weights, smooth_picture

from nstjax import images
from nstjax.cli import main
from nstjax.network.weights import write

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^ {4,6}(nstjax .*)$", TEXT, re.MULTILINE)]
COMMANDS += re.findall(r"`(nstjax (?:report|status|resume) .*?)`", TEXT)
COMMANDS += re.findall(r"bin/(nstjax run .*)$", TEXT, re.MULTILINE)
LISTINGS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
MOMENTS = next(listing for listing in LISTINGS if "def terms" in listing)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """What a reader has at hand: two pictures, some weights, the file of the new loss."""
    monkeypatch.chdir(tmp_path)
    images.save("content.jpg", smooth_picture(40, 48))
    images.save("style.jpg", smooth_picture(44, 36, seed=1))
    images.save("other.jpg", smooth_picture(36, 44, seed=2))
    images.save("mask.png", np.repeat(np.eye(2, dtype=np.float32), [20, 28], 1)[[0] * 40, :, None].repeat(3, 2))
    write("vgg.safetensors", random_weights("block2_conv1"))
    Path("moments.py").write_text(MOMENTS)
    Path("small.py").write_text(MOMENTS)


def test_there_is_something_to_test():
    assert len(COMMANDS) >= 20 and len(LISTINGS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, capsys):
    arguments = shlex.split(command)[1:]
    if arguments[:2] == ["weights", "fetch"]:
        pytest.skip("downloads are tested against a local server")
    if arguments[-1] == "--help":
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        return
    if arguments[0] in ("run", "sweep"):
        # Small, short, and no deeper than the weights at hand.
        if "--size-steps" in arguments:
            short = [{"128": "20", "200,100": "1"}.get(it, it) for it in arguments]
            arguments = [*short, "--size", "32"]
        else:
            arguments += ["--size", "32", "--steps", "2", "--snapshots", "2"]
        arguments += ["--weights", "vgg.safetensors"]
        if "--experiment" not in arguments:
            arguments += ["--layers", "style=relu1_1,relu2_1;content=relu2_1"]
    if arguments[0] in ("resume", "report", "status") and "members" in arguments[1]:
        weights = ["--style-weight", "10", "20", "--content-weight", "1", "2", "--out", "runs/sweep"]
        sweep = ["sweep", "content.jpg", "style.jpg", "--experiment", "moments.py", "--weights", "vgg.safetensors"]
        assert main([*sweep, *weights, "--size", "32", "--steps", "2"]) == 0
    elif arguments[0] in ("resume", "report", "status"):
        run = ["run", "content.jpg", "style.jpg", "--experiment", "moments.py", "--weights", "vgg.safetensors"]
        assert main([*run, "--size", "32", "--steps", "2", "--out", arguments[1]]) == 0
        arguments = [re.sub(r"^\d+$", "4", it) for it in arguments]
        capsys.readouterr()
    assert main(arguments) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


def test_the_first_listing(monkeypatch):
    import nstjax

    short = {"size": 32, "steps": 3, "experiment": "moments.py", "weights": "vgg.safetensors"}
    whole = nstjax.stylize
    monkeypatch.setattr(
        "nstjax.stylize", lambda *pictures, **settings: whole(*pictures, **{**settings, **short}), raising=False
    )
    exec(LISTINGS[0], {})
    assert images.read("out.png").rgb.shape == (27, 32, 3)


def test_the_sweep():
    scope = {}
    exec(LISTINGS[2].replace("100, method", "5, method").replace("size=64", "size=32"), scope)
    four = np.asarray(scope["four"])
    assert four.shape == (4, 27, 32, 3)
    assert np.isfinite(four).all() and four.min() >= 0 and four.max() <= 1
    assert all(np.abs(four[0] - it).max() > 1e-3 for it in four[1:])
    assert jax.tree.leaves(scope["targets"])
