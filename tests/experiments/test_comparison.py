"""How results are scored, and the page of scores; nothing here says which recipe is good."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import features64, random_parameters, random_weights, smooth_picture
from PIL import Image
from quick_run import EXPERIMENT

from nstjax import images
from nstjax.network.architecture import FLAVOURS
from nstjax.network.vgg import VGG
from nstjax.network.weights import write

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "comparison"))

import compare_presets
import metrics

PARAMETERS = random_parameters(metrics.CONTENT_LAYER)
CONTENT, STYLE = smooth_picture(32, 40), smooth_picture(36, 28, seed=1)


@pytest.fixture(scope="module")
def referee():
    return metrics.Judge(VGG(PARAMETERS, FLAVOURS["caffe"]), CONTENT, STYLE)


def test_the_photograph_has_all_of_the_style_distance_and_none_of_the_contents(referee):
    found = referee.score(CONTENT)
    assert [*found.gram.values(), *found.sliced.values()] == pytest.approx([1.0] * 16, rel=1e-6)
    assert (found.content, found.ssim, found.sum) == pytest.approx((0.0, 1.0, 1.0), abs=1e-6)


def test_the_painting_has_none_of_the_style_distance_and_all_of_the_contents():
    referee = metrics.Judge(VGG(PARAMETERS, FLAVOURS["caffe"]), CONTENT, CONTENT[:, ::-1])
    found = referee.score(np.ascontiguousarray(CONTENT[:, ::-1]))
    assert [*found.gram.values(), *found.sliced.values()] == pytest.approx([0.0] * 16, abs=1e-6)
    assert found.content == pytest.approx(1.0, rel=1e-6) and found.ssim < 0.9


def test_gram_and_content_distances_are_those_of_numpy(referee):
    picture = smooth_picture(32, 40, seed=2)
    resized = images.resample(STYLE, 32, 40)
    of = {
        name: features64(PARAMETERS, FLAVOURS["caffe"], it)
        for name, it in {"x": picture, "c": CONTENT, "t": STYLE, "painting": resized}.items()
    }

    def gram(name, layer):
        rows = of[name][layer].reshape(-1, of[name][layer].shape[-1])
        return rows.T @ rows / len(rows)

    def ratio(far, near, to):
        return np.linalg.norm(far - to) / np.linalg.norm(near - to)

    found = referee.score(picture)
    for layer in metrics.LAYERS:
        expected = ratio(gram("x", layer), gram("c", layer), gram("t", layer))
        # In float32, the difference of two matrices that resemble each other.
        assert found.gram[layer] == pytest.approx(expected, rel=1e-4)
    last = metrics.CONTENT_LAYER
    assert found.content == pytest.approx(ratio(of["x"][last], of["painting"][last], of["c"][last]), rel=1e-4)


def test_a_page_of_what_worked_and_what_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_presets, "DEEPEST", "block4_conv1")  # of the default recipe, whose time the others have
    images.save("a.png", smooth_picture(48, 48))
    images.save("b.png", smooth_picture(48, 48, seed=1))
    write("real.safetensors", random_weights("block4_conv1"))
    Path("quick.py").write_text(EXPERIMENT)
    command = ["score", "--real", "real.safetensors", "--out", "out", "--content", "a.png", "--style", "b.png"]
    command += ["--size", "48", "--networks", "real", "--recipes", "quick.py", "li-wand"]
    monkeypatch.setattr(sys, "argv", command)
    compare_presets.main()
    page = Path("out/score.md").read_text()
    assert "| quick | 8 | 8 |" in page and "| li-wand | – | – |" in page
    assert "li-wand on a, b: " in page
    quick, failed = csv.DictReader(Path("out/score.csv").read_text().splitlines())
    assert float(quick["style + content"]) == pytest.approx(float(quick["style"]) + float(quick["content"]))
    assert failed["failure"] and not failed["style"]
    (line, _) = (json.loads(it) for it in Path("out/scores.jsonl").read_text().splitlines())
    assert [it["step"] for it in line["scores"]] == [2, 4, 8]
    with Image.open("out/score-real.jpg") as sheet:
        assert sheet.height > 4 * 48
    assert "</svg>" in Path("out/score.svg").read_text()
    # Once more: nothing is left to do but the page.
    capsys.readouterr()
    compare_presets.main()
    assert capsys.readouterr().out == ""


def test_a_recipe_that_does_not_fit_is_shortened_at_each_size(monkeypatch):
    class Probe:
        def __init__(self, experiment, *_, **__):
            each = [0.1, 0.4][: len(experiment.config.size_steps)]
            self.metrics = {"seconds_per_step": np.repeat(each, compare_presets.PROBE)}

    monkeypatch.setattr(compare_presets.stylize, "run", Probe)
    two = compare_presets.load("tutorial").replace(sizes=(64, 128), size_steps=(100, 50))  # 30 seconds
    one = compare_presets.load("tutorial").replace(size=64, steps=150)  # 15 seconds
    assert compare_presets.in_time(two, None, (one, None), 2.0) == (100, 50)
    assert compare_presets.in_time(two, None, (one, None), 1.0) == (50, 25)
    assert compare_presets.in_time(one, None, (two, None), 1.0) == (150,)
