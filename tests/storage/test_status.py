"""Status of runs, read from their folders, and runs that diverge."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from quick_run import QUICK, run_process

from nstjax import images
from nstjax.cli import main
from nstjax.storage import status
from nstjax.storage.contents import checkpoint_steps
from nstjax.storage.run_folder import RunFolder


def status_lines(folder, capsys):
    capsys.readouterr()
    assert main(["status", folder]) == 0
    return capsys.readouterr().out.splitlines()


def test_status_of_a_finished_run(workspace, capsys):
    assert main([*QUICK, "--out", "out"]) == 0
    lines = status_lines("out", capsys)
    assert lines[0] == "step 8 of 8" and lines[-1] == "finished: out/output.png"
    last = json.loads(Path("out/metrics.jsonl").read_text().splitlines()[-1])
    assert lines[1] == f"loss total {last['total']:.5g}  content {last['content']:.5g}  " + (
        f"style {last['style']:.5g}  tv {last['tv']:.5g}"
    )
    assert re.fullmatch(r"speed \S+ s per step", lines[2])
    assert re.fullmatch(r"last checkpoint at step 8, \d+ s ago", lines[3])


def test_an_unfinished_run_says_how_to_resume(workspace, capsys):
    assert main([*QUICK, "--out", "out"]) == 0
    record = RunFolder("out").read_record()
    from nstjax.experiment.record import extend

    RunFolder("out").write_record(extend(record, 30_000))
    lines = status_lines("out", capsys)
    assert lines[0] == "step 8 of 30,000" and lines[-1] == "no process is working on it: nstjax resume out"


def test_progress_counts_if_it_is_newer_than_the_metrics(workspace):
    assert main([*QUICK, "--out", "out"]) == 0
    folder = RunFolder("out")
    folder.write_progress({"step": 500, "total": 1.5, "style": float("nan"), "seconds_per_step": 2.0})
    current = status.read_status(folder)
    assert current.step == 500 and current.losses["total"] == 1.5 and np.isnan(current.losses["style"])
    folder.write_progress({"step": 3, "total": 1.5, "seconds_per_step": 2.0})
    assert status.read_status(folder).step == 8
    folder.progress.write_text("half a li")
    assert status.read_status(folder).step == 8


def test_a_run_writes_its_progress(workspace, monkeypatch):
    monkeypatch.setattr("nstjax.runs.writer.PROGRESS_SECONDS", 0.0)
    assert main([*QUICK, "--out", "out"]) == 0
    progress = json.loads(Path("out/progress.json").read_text())
    assert progress["step"] == 8 and progress["total"] > 0 and progress["seconds_per_step"] > 0


def test_status_needs_no_array_library_and_refuses_folders_without_a_run(workspace):
    assert main([*QUICK, "--out", "out"]) == 0
    done = run_process("status", "out")
    assert done.returncode == 0 and "finished" in done.stdout
    assert not re.search(r"\| +(jax|orbax)$", done.stderr, re.MULTILINE)
    done = run_process("status", ".")
    assert done.returncode == 2 and "no run in ." in done.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3_725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_readable(seconds, text):
    assert status.format_duration(seconds) == text


# Divergence.

EXPLODING = """

def bend(p):
    import jax.numpy as jnp

    # The mean falls slowly; from 0.3 on the loss jumps to 5,000.
    mean = jnp.mean(p)
    return jnp.where(mean > 0.3, mean, 5_000.0 + mean)


def terms(config):
    return tuple(nstjax.PictureTerm(name, bend) for name in ("content", "style", "tv"))
"""


@pytest.fixture
def exploding(workspace):
    Path("quick.py").write_text(Path("quick.py").read_text().partition("def terms")[0] + EXPLODING)
    return [*QUICK, "--out", "out", "--steps", "500", "--log-every", "1", "--checkpoint-every", "3"]


def test_an_exploding_loss_stops_the_run_and_keeps_the_picture_before(exploding, capsys):
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
    lines = status_lines("out", capsys)
    assert lines[0] == f"step {step} of 500" and lines[-1].startswith("its loss diverged")


def test_a_run_that_diverged_diverges_again_at_the_same_step(exploding, capsys):
    assert main(exploding) == 1
    metrics = [json.loads(line)["total"] for line in Path("out/metrics.jsonl").read_text().splitlines()]
    checkpoints = checkpoint_steps(Path("out/checkpoints"))
    capsys.readouterr()
    assert main(["resume", "out"]) == 1
    assert "more than 1000 times its lowest" in capsys.readouterr().err
    again = [json.loads(line)["total"] for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert again == metrics and checkpoint_steps(Path("out/checkpoints")) == checkpoints


def test_no_checkpoint_is_written_after_a_loss_that_is_not_finite(workspace, capsys):
    options = ["--learning-rate", "1e30", "--log-every", "1", "--checkpoint-every", "1"]
    assert main([*QUICK, "--out", "out", *options]) == 1
    step = int(re.search(r"not finite at step (\d+)", capsys.readouterr().err)[1])
    assert step >= 1 and max(checkpoint_steps(Path("out/checkpoints")), default=0) <= step
    lines = status_lines("out", capsys)
    assert "total nan" in lines[1] and lines[-1].startswith("its loss diverged")


def test_the_result_of_a_run_that_diverged_is_the_picture_before(workspace):
    """The first step diverges, so the result is the start."""
    assert main([*QUICK, "--out", "out", "--learning-rate", "1e30", "--log-every", "1"]) == 1
    images.save("start.png", np.load("out/inputs/start.npy"))
    np.testing.assert_array_equal(images.read("out/output.png").rgb, images.read("start.png").rgb)


# Folders that others have changed.


def test_invalid_progress_is_ignored(workspace):
    assert main([*QUICK, "--out", "out"]) == 0
    for text in ("[]", "{}", "\x00\x00", "7"):
        Path("out/progress.json").write_text(text)
        assert status.read_status(RunFolder("out")).step == 8


def test_a_lock_that_cannot_be_created_counts_as_free(workspace, monkeypatch):
    assert main([*QUICK, "--out", "out"]) == 0

    def read_only(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", read_only)
    assert not RunFolder("out").is_locked()
    assert main(["status", "out"]) == 0


def test_status_with_a_missing_picture_and_an_empty_checkpoint(workspace, capsys):
    assert main([*QUICK, "--out", "my run"]) == 0
    Path("my run/output.png").unlink()
    Path("my run/checkpoints/9999").mkdir()
    lines = status_lines("my run", capsys)
    assert lines[0] == "step 8 of 8"
    assert lines[-1] == "finished, but its picture is missing: nstjax resume 'my run' draws it again"


def test_a_checkpoint_may_be_removed_while_the_status_is_read(workspace, capsys, monkeypatch):
    assert main([*QUICK, "--out", "out"]) == 0
    monkeypatch.setattr(status, "checkpoint_steps", lambda folder: [*checkpoint_steps(folder), 9999])
    assert status_lines("out", capsys)[3].startswith("last checkpoint at step 8, ")
