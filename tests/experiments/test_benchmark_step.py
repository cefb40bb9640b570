"""The benchmark of one step, on nstjax's peer with a narrow network; nothing here tests speed."""

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
from interleaved import PeerRun
from peers import processes, recipe
from peers.processes import Peer, Setup

LAYERS = recipe.RECIPES["tutorial"]
PARAMETERS = random_parameters(LAYERS.content_layer)


def gram(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows / len(rows)


def loss64(inputs, layers):
    """Return a recipe's loss at the start, in float64."""
    x, content, style = (
        features64(PARAMETERS, FLAVOURS["caffe"], picture) for picture in (inputs.start, inputs.content, inputs.style)
    )
    content_loss = np.mean((x[layers.content_layer] - content[layers.content_layer]) ** 2)
    style_loss = np.mean([np.mean((gram(x[layer]) - gram(style[layer])) ** 2) for layer in layers.style_layers])
    picture = inputs.start.astype(np.float64)
    variation = sum(np.abs(np.diff(picture, axis=axis)).sum() for axis in (0, 1))
    return 1e4 * content_loss + 1e-2 * style_loss + 30 * variation


def test_the_command_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    content, style, out = (str(tmp_path / name) for name in ("content.png", "style.png", "results/figures.md"))
    images.save(content, smooth_picture(40, 48))
    images.save(style, smooth_picture(44, 36, seed=1))
    measured = []

    def compare_peers(*arguments, **options):
        comparison = interleaved.compare_peers(*arguments, **options)
        measured.extend(comparison.runs)
        return comparison

    monkeypatch.setattr(benchmark, "compare_peers", compare_peers)
    monkeypatch.setattr(benchmark, "draw_parameters", lambda: PARAMETERS)
    monkeypatch.setattr(benchmark, "CPU_PEERS", (*benchmark.CPU_PEERS, Peer("odd", "nstjax", {"backend": "odd"})))
    command = [content, style, "--sizes", "32", "--rounds", "2", "--steps", "1", "--out", out]
    command += ["--peers", "nstjax direct", "PyTorch float32", "odd"]
    assert benchmark.main([*command, "--torch-python", str(tmp_path / "none")]) == 0
    printed, written = capsys.readouterr().out, Path(out).read_text(encoding="utf-8")
    assert "no GPU here" in printed

    # A peer that is left out is named, with what to do.
    assert re.search(r"^PyTorch is left out: there is no .*none; .*--torch-python", written, re.MULTILINE)
    assert re.search(r"^odd is left out: .*unknown convolution backend 'odd'", written, re.MULTILINE)

    # The first loss is the recipe's.
    run, other = measured
    inputs = benchmark.prepare_pictures(content, style, 32)
    np.testing.assert_allclose(run.first_loss, loss64(inputs, LAYERS), rtol=1e-4)
    np.testing.assert_allclose(other.first_loss, loss64(inputs, recipe.RECIPES["default"]), rtol=1e-4)
    assert run.last_loss < run.first_loss and len(run.seconds) == 2

    # The table holds the measurements.
    lines = [line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("|")]
    row = dict(zip(lines[0], lines[2], strict=True))
    assert len(lines) == 6 and row["peer"] == "nstjax direct" and row["time / PyTorch"] == "–"
    shapes = {name: kernel.shape for name, (kernel, _) in PARAMETERS.items()}
    operations = roofline.count_operations(27, 32, shapes, LAYERS.style_layers)
    seconds = np.median(run.seconds)
    np.testing.assert_allclose(float(row["s a step"]), seconds, rtol=1e-3)
    np.testing.assert_allclose(float(row["GFLOP/s"]), operations / seconds / 1e9, atol=0.06)
    np.testing.assert_allclose(float(row["loss after 4"]), run.last_loss, rtol=1e-5)
    assert float(row["peak memory, MiB"]) > 50 and float(row["start-up, s"]) > 0
    assert "pixels, CPU, layers of the default recipe" in written and "instruction sets: " in written
    assert f"nstjax: python {sys.version.split()[0]}" in written and "experiments/benchmarks/step.py" in written


def test_operations_of_three_layers_are_counted():
    shapes = {"block1_conv1": (3, 3, 3, 64), "block1_conv2": (3, 3, 64, 64), "block2_conv1": (3, 3, 64, 128)}
    # At 7x5: 35 (3*3*3*64 + 64*64) + 35 * 3*3*64*64, and at the 3x2 left by the pooling 6 (3*3*64*128 + 128*128)
    # products; each is a multiplication and an addition, forward and back.
    assert roofline.count_operations(5, 7, shapes, LAYERS.style_layers) == 4 * (203_840 + 1_290_240 + 540_672)


@pytest.mark.parametrize("first_loss", [1.01, float("nan")])
def test_a_peer_with_another_loss_is_refused(first_loss):
    def make_run(name, loss, arithmetic="float32"):
        return PeerRun(Peer(name, "nstjax", arithmetic=arithmetic), None, {}, 0.0, loss)

    agreeing = [make_run("one", 1.0), make_run("other", 1.0005), make_run("half", 1.01, "bfloat16")]
    interleaved.check_agreement(agreeing, 1.0)
    with pytest.raises(UserError, match=r"^other computes something else: its first loss is"):
        interleaved.check_agreement([make_run("one", 1.0), make_run("other", first_loss)], 1.0)


def test_missing_interpreters_are_named():
    pythons = {"nstjax": sys.executable, "torch": "/no/such/python"}
    lines = interleaved.find_missing_libraries(benchmark.CPU_PEERS, pythons)
    assert list(lines) == ["torch", "tensorflow"]
    assert "there is no /no/such/python" in lines["torch"] and "--torch-python" in lines["torch"]
    assert "pip install tensorflow" in lines["tensorflow"] and "--tensorflow-python" in lines["tensorflow"]


def test_a_process_that_ends_is_reported(tmp_path):
    setup = Setup(tmp_path / "none.npz", tmp_path, {"nstjax": "false"})
    with (
        pytest.raises(processes.PeerError, match="has ended with 1: it printed nothing"),
        processes.run_peer(Peer("nstjax", "nstjax"), setup) as process,
    ):
        process.ask("memory")


def test_gradients_are_compared_by_cosine_and_relative_error():
    expected = np.array([[[3.0, 4.0, 0.0]]])
    assert interleaved.compare_gradients(expected, expected) == (1.0, 0.0)
    np.testing.assert_allclose(interleaved.compare_gradients(np.array([[[3.0, 4.0, 5.0]]]), expected), (0.5**0.5, 1.0))
