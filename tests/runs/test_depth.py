"""Results with 16 bits a colour: of a run, of its resume, and of the members of a sweep."""

import json
from pathlib import Path

import numpy as np
import pytest
from quick_run import QUICK, StopAt

import nstjax
from nstjax import images
from nstjax.cli import main
from nstjax.errors import UserError

SETTINGS = {"experiment": "quick.py", "weights": "vgg.safetensors", "steps": 2, "size": 16, "depth": 16}


def check_file(path: Path, picture: np.ndarray) -> None:
    """Check that a file has all 16 bits of a picture."""
    saved = images.read(path).rgb
    np.testing.assert_array_equal(np.rint(saved * 65535), np.rint(np.clip(picture, 0, 1) * np.float32(65535)))
    assert np.any(np.rint(saved * 65535) % 257)  # more than 8 bits


def test_a_run_keeps_its_depth_when_it_is_resumed(workspace):
    nstjax.stylize("content.png", "style.png", out="run", listener=StopAt(1), checkpoint_every=1, **SETTINGS)
    result = nstjax.resume("run")
    assert json.loads(Path("run/config.json").read_text())["config"]["depth"] == 16
    check_file(Path("run/output.png"), result.picture)
    check_file(result.save("result.tif"), result.picture)
    assert not np.any(np.rint(images.read(result.save("small.png", depth=8)).rgb * 65535) % 257)
    with pytest.raises(UserError, match=r"result.jpg would be a JPEG, which has 8 bits a colour"):
        result.save("result.jpg")
    result.save("result.jpg", depth=8)
    assert main(["resume", "run", "--save", "again.webp"]) == 2


def test_the_members_of_a_sweep_have_the_depth(workspace):
    result = nstjax.sweep("content.png", "style.png", vary={"seed": [0, 1]}, init="noise", out="sweep", **SETTINGS)
    for member in result.members:
        assert member is not None and member.folder is not None
        check_file(member.folder / "output.png", member.picture)


def test_a_format_of_8_bits_is_refused_before_the_run(workspace, capsys):
    assert main([*QUICK, "--depth", "16", "--save", "result.jpg"]) == 2
    assert "result.jpg would be a JPEG, which has 8 bits a colour: use .png or .tiff" in capsys.readouterr().err
    assert main([*QUICK, "--depth", "12"]) == 2
    assert "depth must be one of 8, 16, not 12" in capsys.readouterr().err
    assert not Path("runs").exists() and not Path("result.jpg").exists()
