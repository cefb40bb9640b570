"""What is said of a run from its folder alone, and how a run that diverges is said and kept."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from quick_run import QUICK, process

from nstjax import images
from nstjax.cli import main
from nstjax.storage import status
from nstjax.storage.run_folder import RunFolder, checkpoint_steps


def lines(folder, capsys):
    capsys.readouterr()
    assert main(["status", folder]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_finished_run(place, capsys):
    assert main([*QUICK, "--out", "out"]) == 0
    found = lines("out", capsys)
    assert found[0] == "step 8 of 8" and found[-1] == "finished: out/output.png"
    last = json.loads(Path("out/metrics.jsonl").read_text().splitlines()[-1])
    assert found[1] == f"loss total {last['total']:.5g}  content {last['content']:.5g}  " + (
        f"style {last['style']:.5g}  tv {last['tv']:.5g}"
    )
    assert re.fullmatch(r"speed \S+ s a step", found[2])
    assert re.fullmatch(r"last checkpoint at step 8, \d+ s ago", found[3])


def test_an_unfinished_run_says_how_to_go_on(place, capsys):
    assert main([*QUICK, "--out", "out"]) == 0
    record = RunFolder("out").read_record()
    from nstjax.experiment.record import extended

    RunFolder("out").write_record(extended(record, 30_000))
    found = lines("out", capsys)
    assert found[0] == "step 8 of 30,000" and found[-1] == "no process is at work on it: nstjax resume out"


def test_progress_counts_where_it_is_newer_than_the_metrics(place):
    assert main([*QUICK, "--out", "out"]) == 0
    folder = RunFolder("out")
    folder.write_progress({"step": 500, "total": 1.5, "style": float("nan"), "seconds_per_step": 2.0})
    found = status.of(folder)
    assert found.step == 500 and found.losses["total"] == 1.5 and np.isnan(found.losses["style"])
    folder.write_progress({"step": 3, "total": 1.5, "seconds_per_step": 2.0})
    assert status.of(folder).step == 8
    folder.progress.write_text("half a li")
    assert status.of(folder).step == 8


def test_a_run_leaves_word_of_how_far_it_is(place, monkeypatch):
    monkeypatch.setattr("nstjax.runs.writer.PROGRESS_SECONDS", 0.0)
    assert main([*QUICK, "--out", "out"]) == 0
    progress = json.loads(Path("out/progress.json").read_text())
    assert progress["step"] == 8 and progress["total"] > 0 and progress["seconds_per_step"] > 0


def test_status_needs_no_array_library_and_refuses_what_is_no_run(place):
    assert main([*QUICK, "--out", "out"]) == 0
    done = process("status", "out")
    assert done.returncode == 0 and "finished" in done.stdout
    assert not re.search(r"\| +(jax|orbax)$", done.stderr, re.MULTILINE)
    done = process("status", ".")
    assert done.returncode == 2 and "no run in ." in done.stderr


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3_725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, words):
    assert status.duration(seconds) == words


# Divergence.

EXPLODING = """

def bend(p):
    import jax.numpy as jnp

    # Falls to 0.01, where it is 5,000.
    mean = jnp.mean(p)
    return jnp.where(mean > 0.3, mean, 5_000.0 + mean)


def terms(config):
    return tuple(nstjax.PictureTerm(name, bend) for name in ("content", "style", "tv"))
"""


@pytest.fixture
def exploding(place):
    Path("quick.py").write_text(Path("quick.py").read_text().partition("def terms")[0] + EXPLODING)
    return [*QUICK, "--out", "out", "--steps", "500", "--log-every", "1", "--checkpoint-every", "3"]


def test_a_loss_that_explodes_stops_the_run_before_it(exploding, capsys):
    assert main(exploding) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    match = re.search(r"the loss at step (\d+) is more than 1000 times its lowest, 0\.\d+ \(total 105\d\d", error)
    assert match and "try a lower learning rate" in error, error
    step = int(match[1])
    assert 3 < step < 500
    assert max(checkpoint_steps(Path("out/checkpoints"))) <= step
    assert Path("out/output.png").exists()
    last = json.loads(Path("out/metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == step
    found = lines("out", capsys)
    assert found[0] == f"step {step} of 500" and found[-1].startswith("its loss diverged")


def test_a_run_that_diverged_diverges_again_at_the_same_step(exploding, capsys):
    assert main(exploding) == 1
    metrics = [json.loads(line)["total"] for line in Path("out/metrics.jsonl").read_text().splitlines()]
    checkpoints = checkpoint_steps(Path("out/checkpoints"))
    capsys.readouterr()
    assert main(["resume", "out"]) == 1
    assert "more than 1000 times its lowest" in capsys.readouterr().err
    again = [json.loads(line)["total"] for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert again == metrics and checkpoint_steps(Path("out/checkpoints")) == checkpoints


def test_a_loss_that_is_not_finite_leaves_no_checkpoint_of_what_follows(place, capsys):
    options = ["--learning-rate", "1e30", "--log-every", "1", "--checkpoint-every", "1"]
    assert main([*QUICK, "--out", "out", *options]) == 1
    step = int(re.search(r"not finite at step (\d+)", capsys.readouterr().err)[1])
    assert step >= 1 and all(it <= step for it in checkpoint_steps(Path("out/checkpoints")))
    found = lines("out", capsys)
    assert "total nan" in found[1] and found[-1].startswith("its loss diverged")


def test_the_picture_of_a_run_that_diverged_is_the_one_before(place):
    """The first step goes wrong: what is left is the start, not what the step made of it."""
    assert main([*QUICK, "--out", "out", "--learning-rate", "1e30", "--log-every", "1"]) == 1
    images.save("start.png", np.load("out/inputs/start.npy"))
    np.testing.assert_array_equal(images.read("out/output.png").rgb, images.read("start.png").rgb)


# Folders in the hands of others.


def test_progress_that_is_no_progress_is_passed_over(place):
    assert main([*QUICK, "--out", "out"]) == 0
    for text in ("[]", "{}", "\x00\x00", "7"):
        Path("out/progress.json").write_text(text)
        assert status.of(RunFolder("out")).step == 8


def test_a_lock_that_cannot_be_made_is_nobodys(place, monkeypatch):
    assert main([*QUICK, "--out", "out"]) == 0

    def read_only(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", read_only)
    assert not RunFolder("out").is_held()
    assert main(["status", "out"]) == 0


def test_a_picture_that_is_gone_and_an_empty_checkpoint(place, capsys):
    assert main([*QUICK, "--out", "my run"]) == 0
    Path("my run/output.png").unlink()
    Path("my run/checkpoints/9999").mkdir()
    found = lines("my run", capsys)
    assert found[0] == "step 8 of 8"
    assert found[-1] == "finished, but its picture is gone: nstjax resume 'my run' draws it again"
