"""The scores of pictures, and the page of scores; nothing here says which recipe is good."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import features64, random_parameters, random_weights, smooth_picture
from PIL import Image
from quick_run import EXPERIMENT, StopAt

from nstjax import images
from nstjax.network.architecture import FLAVOURS
from nstjax.network.vgg import VGG
from nstjax.network.weights import write

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "comparison"))

import compare_presets
import lpips
import metrics

PARAMETERS = random_parameters(metrics.CONTENT_LAYER)
CONTENT, STYLE = smooth_picture(32, 40), smooth_picture(36, 28, seed=1)


def mean_difference(x, y):
    return float(np.abs(x - y).mean())


@pytest.fixture(scope="module")
def scorer():
    return metrics.Scorer(VGG(PARAMETERS, FLAVOURS["caffe"]), CONTENT, STYLE, mean_difference)


def test_the_photograph_has_style_distance_1_and_content_distance_0(scorer):
    score = scorer.score(CONTENT)
    assert [*score.gram.values(), *score.sliced.values()] == pytest.approx([1.0] * 16, rel=1e-6)
    assert (score.content, score.ssim, score.lpips, score.sum) == pytest.approx((0.0, 1.0, 0.0, 1.0), abs=1e-6)


def test_the_painting_has_style_distance_0_and_content_distance_1():
    scorer = metrics.Scorer(VGG(PARAMETERS, FLAVOURS["caffe"]), CONTENT, CONTENT[:, ::-1], mean_difference)
    score = scorer.score(np.ascontiguousarray(CONTENT[:, ::-1]))
    assert [*score.gram.values(), *score.sliced.values()] == pytest.approx([0.0] * 16, abs=1e-6)
    assert score.content == pytest.approx(1.0, rel=1e-6) and score.ssim < 0.9


def test_gram_and_content_distances_equal_numpys(scorer):
    picture = smooth_picture(32, 40, seed=2)
    resized = images.resample(STYLE, 32, 40)
    pictures = {"x": picture, "c": CONTENT, "t": STYLE, "painting": resized}
    features = {name: features64(PARAMETERS, FLAVOURS["caffe"], array) for name, array in pictures.items()}

    def gram(name, layer):
        rows = features[name][layer].reshape(-1, features[name][layer].shape[-1])
        return rows.T @ rows / len(rows)

    def ratio(far, near, to):
        return np.linalg.norm(far - to) / np.linalg.norm(near - to)

    score = scorer.score(picture)
    for layer in metrics.LAYERS:
        expected = ratio(gram("x", layer), gram("c", layer), gram("t", layer))
        # The difference of two similar matrices loses digits in float32.
        assert score.gram[layer] == pytest.approx(expected, rel=1e-4)
    last = metrics.CONTENT_LAYER
    expected = ratio(features["x"][last], features["painting"][last], features["c"][last])
    assert score.content == pytest.approx(expected, rel=1e-4)


def test_lpips_equals_numpys():
    parameters = random_parameters("block5_conv3")
    pictures = [smooth_picture(32, 40, seed=seed) for seed in (0, 1)]
    features = [features64(parameters, FLAVOURS["torchvision"], picture) for picture in pictures]
    names = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
    heads = tuple(np.random.default_rng(0).random(features[0][name].shape[-1], np.float32) for name in names)
    expected = 0
    for name, head in zip(names, heads, strict=True):
        x, y = (F[name] / (np.linalg.norm(F[name], axis=-1, keepdims=True) + 1e-10) for F in features)
        expected += ((x - y) ** 2 @ head).mean()
    distance = lpips.Lpips(VGG(parameters, FLAVOURS["torchvision"], precision="highest"), heads)
    # Differences of similar directions lose digits in float32.
    assert distance(*pictures) == pytest.approx(expected, rel=1e-4)
    assert distance(pictures[0], pictures[0]) == pytest.approx(0, abs=1e-9)


def test_the_page_shows_finished_and_failed_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_presets, "DEEPEST", "block4_conv1")  # the default recipe sets the time, so it must run
    monkeypatch.setattr(compare_presets, "load_lpips", lambda: mean_difference)
    images.save("a.png", smooth_picture(48, 48))
    images.save("b.png", smooth_picture(48, 48, seed=1))
    write("real.safetensors", random_weights("block4_conv1"))
    Path("quick.py").write_text(EXPERIMENT)
    command = ["score", "--real", "real.safetensors", "--out", "out", "--content", "a.png", "--style", "b.png"]
    command += ["--size", "48", "--networks", "real", "--recipes", "quick.py", "li-wand", "--identity"]
    monkeypatch.setattr(sys, "argv", command)
    compare_presets.main()
    page = Path("out/score.md").read_text()
    assert "| quick | 8 | 8 |" in page and "| li-wand | – | – |" in page
    assert "li-wand on a, b: " in page
    assert "| quick | 0." in page and "| li-wand | inf | – |" in page  # the identity test
    quick, failed, *_ = csv.DictReader(Path("out/score.csv").read_text().splitlines())
    assert float(quick["style + content"]) == pytest.approx(float(quick["style"]) + float(quick["content"]))
    assert failed["failure"] and not failed["style"]
    (line, *_) = (json.loads(text) for text in Path("out/scores.jsonl").read_text().splitlines())
    assert [score["step"] for score in line["scores"]] == [2, 4, 8]
    with Image.open("out/score-real.jpg") as sheet:
        assert sheet.height > 4 * 48
    assert "</svg>" in Path("out/score.svg").read_text()
    # The second time only the page is written.
    capsys.readouterr()
    compare_presets.main()
    assert capsys.readouterr().out == ""


def test_an_interrupted_run_is_continued(tmp_path, monkeypatch, scorer):
    monkeypatch.chdir(tmp_path)
    write("real.safetensors", random_weights("block4_conv1"))
    Path("quick.py").write_text(EXPERIMENT)
    recipe = compare_presets.load_recipe("quick.py", ["real.safetensors"], 48)
    pair = compare_presets.Pair("pictures", CONTENT, STYLE)
    whole = compare_presets.run_and_score(recipe, pair, (8,), scorer, Path("whole"))
    with monkeypatch.context() as patched:
        patched.setattr(compare_presets, "Listener", lambda: StopAt(5))
        compare_presets.run_and_score(recipe, pair, (8,), scorer, Path("interrupted"))
    continued = compare_presets.run_and_score(recipe, pair, (), scorer, Path("interrupted"))
    for run in (whole, continued):
        for score in run["scores"]:
            del score["seconds"]
    assert continued == whole


def test_a_recipe_that_takes_too_long_is_shortened_at_each_size(monkeypatch):
    class Probe:
        def __init__(self, *_, experiment, **__):
            seconds = [0.1, 0.4][: len(experiment.config.steps)]
            self.metrics = {"seconds_per_step": np.repeat(seconds, compare_presets.PROBE)}

    monkeypatch.setattr(compare_presets.stylize, "stylize", Probe)
    pair = compare_presets.Pair("pictures", "content.png", "style.png")
    two = compare_presets.load("tutorial").replace(sizes=(64, 128), steps=(100, 50))  # 30 seconds
    one = compare_presets.load("tutorial").replace(size=64, steps=150)  # 15 seconds
    assert compare_presets.fit_steps(two, one, pair, 2.0) == (100, 50)
    assert compare_presets.fit_steps(two, one, pair, 1.0) == (50, 25)
    assert compare_presets.fit_steps(one, two, pair, 1.0) == (150,)
