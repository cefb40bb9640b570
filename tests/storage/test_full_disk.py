"""A disk that fills while a run is under way: one line, the checkpoint before it holds, and the run can go on."""

import contextlib
import importlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from quick_run import QUICK, losses

from nstjax.cli import main


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (it needs root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk):
    free = os.statvfs(disk)
    # A checkpoint that is being written beside it may take some of that first.
    with contextlib.suppress(OSError):
        (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_bsize))


# What is being written, by which method, its call from which on the disk is full, what the line says, and options.
WRITES = {
    "a checkpoint": (
        "storage.checkpoints.Checkpoints._write",
        2,
        "the checkpoint of step 20",
        ["--checkpoint-every", "10"],
    ),
    "a snapshot": ("storage.run_folder.RunFolder.write_snapshot", 2, "[^ ]*000030.png", ["--snapshot-every", "15"]),
    # Small lines fill a page of memory that the file has already, so it takes some until one finds no room.
    "the metrics": (
        "storage.run_folder.RunFolder.log",
        28,
        "[^ ]*metrics.jsonl",
        ["--log-every", "1", "--checkpoint-every", "25"],
    ),
    "how far it is": ("storage.run_folder.RunFolder.write_progress", 2, "[^ ]*progress.json", []),
    "the result": ("runs.stylize.Result.save", 1, "[^ ]*output.png", []),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_disk_that_fills(place, small_disk, capsys, monkeypatch, what):
    name, call, message, options = WRITES[what]
    options = [*options, "--steps", "60"]
    assert main([*QUICK, "--out", "whole", *options]) == 0
    room, owner, method = name.rsplit(".", 2)
    target, calls = getattr(importlib.import_module(f"nstjax.{room}"), owner), 0
    original, out = getattr(target, method), small_disk / "out"

    def write(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == call:
            while list(out.glob("checkpoints/.*.part")):
                time.sleep(0.01)  # what is being written in the background is to find room still
            fill(small_disk)
        return original(*arguments, **named)

    monkeypatch.setattr(target, method, write)
    monkeypatch.setattr("nstjax.runs.writer.PROGRESS_SECONDS", 0.0 if what == "how far it is" else 1e9)
    capsys.readouterr()
    assert main([*QUICK, "--out", str(out), *options, "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    line = f"nstjax: cannot write {message}.*: No space left on device; mend that, then: nstjax resume {out}"
    assert re.fullmatch(line + "\n", error), error
    # Still full: the same again, and still nothing is lost.
    monkeypatch.setattr(target, method, original)
    assert main(["resume", str(out), "--quiet"]) == 1
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    (small_disk / "ballast").unlink()
    assert main(["resume", str(out), "--quiet"]) == 0
    assert "damaged" not in capsys.readouterr().err
    assert (out / "output.png").read_bytes() == Path("whole/output.png").read_bytes()
    assert losses(out) == losses("whole")
    for path in Path("whole").glob("snapshots/*"):
        assert (out / "snapshots" / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in out.rglob("*") if path.name.endswith((".part", ".old"))]


def test_a_disk_that_is_full_from_the_start(place, small_disk, capsys):
    fill(small_disk)
    assert main([*QUICK, "--out", str(small_disk / "out"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No space left on device" in error
