"""What is kept while steps are made, and when."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from quick_run import QUICK

from nstjax import images
from nstjax.cli import main
from nstjax.experiment.config import Config
from nstjax.runs.loop import chunk_length
from nstjax.storage.run_folder import checkpoint_steps


def test_snapshots_at_given_steps_and_every_n(place):
    assert main([*QUICK, "--out", "out", "--snapshots", "0,4", "--snapshot-every", "3", "--steps", "8"]) == 0
    assert sorted(path.stem for path in Path("out/snapshots").iterdir()) == ["000000", "000003", "000004", "000006"]


def test_checkpoints_every_n_steps_and_at_the_end_the_newest_kept(place):
    assert main([*QUICK, "--out", "out", "--checkpoint-every", "3", "--checkpoint-keep", "2", "--steps", "14"]) == 0
    assert checkpoint_steps(Path("out/checkpoints")) == [12, 14]
    assert main([*QUICK, "--out", "one", "--checkpoint-every", "1", "--checkpoint-keep", "100", "--steps", "5"]) == 0
    assert checkpoint_steps(Path("one/checkpoints")) == [1, 2, 3, 4, 5]


def test_checkpoints_every_few_minutes_where_steps_are_slow(place):
    options = ["--checkpoint-every", "1000000", "--checkpoint-keep", "100", "--steps", "5", "--snapshot-every", "1"]
    assert main([*QUICK, "--out", "out", *options, "--checkpoint-minutes", "0"]) == 0
    assert checkpoint_steps(Path("out/checkpoints")) == [1, 2, 3, 4, 5]  # each snapshot ends a chunk


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint-every", "0"], "checkpoint-every must be at least 1"),
        (["--checkpoint-keep", "1"], "checkpoint-keep must be at least 2"),
        (["--checkpoint-minutes", "-1"], "checkpoint-minutes must be at least 0"),
        (["--snapshot-every", "0"], "snapshot-every must be at least 1"),
    ],
)
def test_bad_intervals(place, capsys, options, message):
    assert main([*QUICK, "--out", "out", *options]) == 2
    assert message in capsys.readouterr().err and not Path("out").exists()


def test_chunks_end_where_something_is_due():
    config = Config(steps=1000, snapshots=(7,), snapshot_every=60, checkpoint_every=50, log_every=1)
    lengths, step = [], 0
    while step < config.steps:
        lengths.append(chunk_length(config, step, 1000, 0.01))
        assert lengths[-1] >= 1
        step += lengths[-1]
    ends = set(np.cumsum(lengths).tolist())
    assert {7, *range(50, 1001, 50), *range(60, 1001, 60)} <= ends and step == 1000
    assert max(lengths) <= 50
    assert chunk_length(Config(steps=10_000), 0, 10_000, 1e-9) == 256  # the buffer of metrics
    assert chunk_length(Config(steps=10_000), 0, 10_000, 60.0) == 1


def test_deterministic_is_no_other_picture_on_a_cpu(place):
    assert main([*QUICK, "--out", "plain"]) == 0
    assert main([*QUICK, "--out", "set", "--deterministic"]) == 0
    np.testing.assert_array_equal(images.read("set/output.png").rgb, images.read("plain/output.png").rgb)


def events(folder):
    """The events in TensorBoard's files, oldest first: records of length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            found.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def test_tensorboard_has_every_logged_step_and_hides_what_a_resume_makes_again(place):
    pytest.importorskip("tensorboardX")
    assert main([*QUICK, "--out", "out", "--tensorboard", "--log-every", "2", "--snapshots", "4", "--steps", "6"]) == 0
    assert main(["resume", "out", "--steps", "9"]) == 0
    found = events("out/tensorboard")
    scalars = [(event.step, value.tag) for event in found for value in event.summary.value if value.tag != "picture"]
    totals = [step for step, tag in scalars if tag == "loss/total"]
    assert totals == [0, 2, 4, 5, 6, 8]
    assert {tag.removeprefix("loss/") for _, tag in scalars} == {"total", "content", "style", "tv", "seconds_per_step"}
    assert [event.step for event in found for value in event.summary.value if value.tag == "picture"] == [4]
    assert [event.step for event in found if event.HasField("session_log")] == [6]


def test_tensorboard_without_its_library_is_one_line(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main([*QUICK, "--out", "out", "--tensorboard"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'nstjax[tensorboard]'" in error
    assert not Path("out").exists()


def test_a_resume_without_tensorboard_s_library_is_one_line(place, capsys, monkeypatch):
    assert main([*QUICK, "--out", "out", "--tensorboard"]) == 0
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    capsys.readouterr()
    assert main(["resume", "out", "--steps", "9", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'nstjax[tensorboard]'" in error
