"""The benchmark's machinery, on nstjax's own peer with a narrow network; nothing here is a test of speed."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import features64, random_parameters, smooth_picture

from nstjax import images
from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))

import interleaved
import roofline
import step as benchmark
from interleaved import Racer
from peers import processes, recipe
from peers.processes import Peer, Setting

PARAMETERS = random_parameters(recipe.CONTENT_LAYER)


def gram(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows / len(rows)


def loss64(inputs):
    """The recipe's formula at the start, in float64."""
    x, content, style = (
        features64(PARAMETERS, FLAVOURS["caffe"], it) for it in (inputs.start, inputs.content, inputs.style)
    )
    of_content = np.mean((x[recipe.CONTENT_LAYER] - content[recipe.CONTENT_LAYER]) ** 2)
    of_style = np.mean([np.mean((gram(x[it]) - gram(style[it])) ** 2) for it in recipe.STYLE_LAYERS])
    picture = inputs.start.astype(np.float64)
    variation = sum(np.abs(np.diff(picture, axis=axis)).sum() for axis in (0, 1))
    return 1e4 * of_content + 1e-2 * of_style + 30 * variation


def test_the_whole_command(tmp_path, monkeypatch, capsys):
    content, style, out = (str(tmp_path / it) for it in ("content.png", "style.png", "results/figures.md"))
    images.save(content, smooth_picture(40, 48))
    images.save(style, smooth_picture(44, 36, seed=1))
    measured = []

    def compete(*arguments, **options):
        outcome = interleaved.compete(*arguments, **options)
        measured.extend(outcome.racers)
        return outcome

    monkeypatch.setattr(benchmark, "compete", compete)
    monkeypatch.setattr(benchmark, "he_parameters", lambda: PARAMETERS)
    monkeypatch.setattr(benchmark, "CPU_PEERS", (*benchmark.CPU_PEERS, Peer("odd", "nstjax", {"backend": "odd"})))
    command = [content, style, "--sizes", "32", "--rounds", "2", "--steps", "1", "--out", out]
    command += ["--peers", "nstjax direct", "PyTorch float32", "odd"]
    assert benchmark.main([*command, "--torch-python", str(tmp_path / "none")]) == 0
    printed, written = capsys.readouterr().out, Path(out).read_text(encoding="utf-8")
    assert "no GPU here" in printed

    # Whoever is left out is named, with what to do.
    assert re.search(r"^PyTorch is left out: there is no .*none; .*--torch-python", written, re.MULTILINE)
    assert re.search(r"^odd is left out: .*unknown convolution backend 'odd'", written, re.MULTILINE)

    # Its first step is the recipe's.
    [racer] = measured
    np.testing.assert_allclose(racer.first_loss, loss64(benchmark.pictures(content, style, 32)), rtol=1e-4)
    assert racer.last_loss < racer.first_loss and len(racer.seconds) == 2

    # The table is what was measured.
    lines = [line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("|")]
    row = dict(zip(lines[0], lines[2], strict=True))
    assert len(lines) == 3 and row["peer"] == "nstjax direct" and row["time / PyTorch"] == "–"
    shapes = {name: kernel.shape for name, (kernel, _) in PARAMETERS.items()}
    operations = roofline.step_operations(27, 32, shapes)
    seconds = np.median(racer.seconds)
    np.testing.assert_allclose(float(row["s a step"]), seconds, rtol=1e-3)
    np.testing.assert_allclose(float(row["GFLOP/s"]), operations / seconds / 1e9, atol=0.06)
    np.testing.assert_allclose(float(row["loss after 4"]), racer.last_loss, rtol=1e-5)
    assert float(row["peak memory, MiB"]) > 50 and float(row["start-up, s"]) > 0
    assert f"nstjax: python {sys.version.split()[0]}" in written and "experiments/benchmarks/step.py" in written


def test_the_arithmetic_of_three_layers():
    shapes = {"block1_conv1": (3, 3, 3, 64), "block1_conv2": (3, 3, 64, 64), "block2_conv1": (3, 3, 64, 128)}
    # At 7x5: 35 (3*3*3*64 + 64*64) + 35 * 3*3*64*64, and at the 3x2 left by the pooling 6 (3*3*64*128 + 128*128)
    # products; each is a multiplication and an addition, forward and back.
    assert roofline.step_operations(5, 7, shapes) == 4 * (203_840 + 1_290_240 + 540_672)


@pytest.mark.parametrize("first_loss", [1.01, float("nan")])
def test_another_loss_is_refused(first_loss):
    def racer(name, loss, kind="float32"):
        return Racer(Peer(name, "nstjax", arithmetic=kind), None, {}, 0.0, loss)

    interleaved.check_agreement([racer("one", 1.0), racer("other", 1.0005), racer("half", 1.01, "bfloat16")], 1.0)
    with pytest.raises(UserError, match=r"^other computes something else: its first loss is"):
        interleaved.check_agreement([racer("one", 1.0), racer("other", first_loss)], 1.0)


def test_missing_interpreters_are_named():
    found = interleaved.missing(benchmark.CPU_PEERS, {"nstjax": sys.executable, "torch": "/no/such/python"})
    assert list(found) == ["torch", "tensorflow"]
    assert "there is no /no/such/python" in found["torch"] and "--torch-python" in found["torch"]
    assert "pip install tensorflow" in found["tensorflow"] and "--tensorflow-python" in found["tensorflow"]


def test_a_process_that_ends_says_why(tmp_path):
    setting = Setting(tmp_path / "none.npz", tmp_path, {"nstjax": "false"})
    with (
        pytest.raises(processes.Failed, match="has ended with 1: it said nothing"),
        processes.running(Peer("nstjax", "nstjax"), setting) as process,
    ):
        process.ask("memory")


def test_gradients_are_compared():
    expected = np.array([[[3.0, 4.0, 0.0]]])
    assert interleaved.gradient_error(expected, expected) == (1.0, 0.0)
    np.testing.assert_allclose(interleaved.gradient_error(np.array([[[3.0, 4.0, 5.0]]]), expected), (0.5**0.5, 1.0))
