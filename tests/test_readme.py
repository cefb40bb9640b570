"""Every command and every listing of the README files works, and every file that they link to exists."""

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

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.rglob("README.md"), ROOT / ".github" / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
    if not {".venv", "runs", "node_modules"} & {*path.relative_to(ROOT).parts}
}
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|…")


def commands_of(text):
    """Yield the `nstjax` commands of a page: indented lines, and what stands in backticks or in a shell block."""
    yield from (line.split("#")[0].strip() for line in re.findall(r"^ {4,6}(nstjax .*)$", text, re.MULTILINE))
    yield from re.findall(r"`(nstjax [^`]*?)`", text)
    yield from re.findall(r"bin/(nstjax run .*)$", text, re.MULTILINE)


COMMANDS = dict.fromkeys(
    command for text in PAGES.values() for command in commands_of(text) if not PLACEHOLDER.search(command)
)


def listings_of(page):
    return re.findall(r"^```python\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


MOMENTS, STYLIZE = listings_of("README.md")
(VMAP,) = listings_of("nstjax/README.md")


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """Provide what a reader has at hand: three pictures, a mask, some weights, the file of the new loss."""
    monkeypatch.chdir(tmp_path)
    images.save("content.jpg", smooth_picture(40, 48))
    images.save("style.jpg", smooth_picture(44, 36, seed=1))
    images.save("other.jpg", smooth_picture(36, 44, seed=2))
    images.save("mask.png", np.repeat(np.eye(2, dtype=np.float32), [20, 28], 1)[[0] * 40, :, None].repeat(3, 2))
    write("vgg.safetensors", random_weights("block2_conv1"))
    Path("moments.py").write_text(MOMENTS)


def test_the_pages_are_found():
    assert len(PAGES) >= 9 and len(COMMANDS) >= 25
    assert len(PAGES["README.md"].split()) <= 900


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        if not target.startswith("https://"):
            assert (folder / target).exists(), target


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
        arguments = make_short(arguments)
    run = ["content.jpg", "style.jpg", "--experiment", "moments.py", "--weights", "vgg.safetensors"]
    run += ["--size", "32", "--steps", "2"]
    if arguments[0] in ("resume", "report", "status"):
        if "sweep" in arguments[1]:
            weights = ["--style-weight", "10", "20", "--out", "runs/sweep"]
            assert main(["sweep", *run, *weights]) == 0
        else:
            assert main(["run", *run, "--out", arguments[1]]) == 0
        arguments = [re.sub(r"^\d+$", "4", argument) for argument in arguments]
        capsys.readouterr()
    assert main(arguments) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


def make_short(arguments):
    """Make a run or a sweep small, short and shallow."""
    arguments = [{"128:512": "20:28", "200,100": "1,1", "128,256,512": "16,32"}.get(word, word) for word in arguments]
    if "--sizes" not in arguments:
        arguments += ["--size", "32"]
    if "1,1" not in arguments:
        arguments += ["--steps", "2", "--snapshots", "2"]
    arguments += ["--weights", "vgg.safetensors"]
    if "--experiment" not in arguments:
        arguments += ["--layers", "style=relu1_1;content=relu1_1"]
    return arguments


def test_the_listing_of_stylize(monkeypatch):
    import nstjax

    short = {"size": 32, "steps": 3, "experiment": "moments.py", "weights": "vgg.safetensors"}
    whole = nstjax.stylize
    monkeypatch.setattr(
        "nstjax.stylize", lambda *pictures, **settings: whole(*pictures, **{**settings, **short}), raising=False
    )
    exec(STYLIZE, {})
    assert images.read("out.png").rgb.shape == (27, 32, 3)


def test_the_listing_of_vmap():
    scope = {}
    exec(VMAP.replace("100, method", "5, method").replace("size=64", "size=32"), scope)
    four = np.asarray(scope["four"])
    assert four.shape == (4, 27, 32, 3)
    assert np.isfinite(four).all() and four.min() >= 0 and four.max() <= 1
    assert all(np.abs(four[0] - other).max() > 1e-3 for other in four[1:])
    assert jax.tree.leaves(scope["targets"])
