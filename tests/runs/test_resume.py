"""Resuming: a run that was stopped and resumed equals the run that was not stopped, to the byte."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import fill_workspace, random_weights
from quick_run import QUICK, StopAt, keep_copy, read_losses, restore_copy

import nstjax
from nstjax import images
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment import resolve
from nstjax.experiment.experiment import load
from nstjax.experiment.record import SCHEMA, seal
from nstjax.network.weights import write
from nstjax.storage.run_folder import RunFolder

SMALL = ["--steps", "14", "--horizon", "14", "--log-every", "4", "--snapshots", "5", "--snapshot-every", "6"]


def read_pictures(folder):
    return {path.name: path.read_bytes() for path in [*Path(folder).glob("snapshots/*"), Path(folder, "output.png")]}


def read_digests(folder, step):
    """Return {leaf: digest} of a checkpoint."""
    seal = json.loads(Path(folder, "checkpoints", str(step), "seal.json").read_text())
    return {leaf["name"]: leaf["sha256"] for leaf in seal["leaves"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with a run of 4 steps in out/ and one of 14 in small/, made once for all tests, and its copy."""
    folder = tmp_path_factory.mktemp("runs")
    fill_workspace(folder)
    with contextlib.chdir(folder):
        assert main([*QUICK, "--out", "out", "--steps", "4", "--quiet"]) == 0
        assert main([*QUICK, "--out", "small", *SMALL, "--quiet"]) == 0
    return keep_copy(folder)


@pytest.fixture
def made(runs, monkeypatch):
    """Change to the folder with both runs, as it was when they were made: records name the weights by their path."""
    monkeypatch.chdir(restore_copy(*runs))


METHODS = {
    "pixels": [],
    "noise, clamped": ["--init", "noise", "--clamp"],
    "the best": ["--keep", "best", "--learning-rate", "0.3"],
    "bfloat16": ["--dtype", "bfloat16", "--convolution", "winograd"],
    "fourier and a schedule": ["--parameterisation", "fourier", "--schedule", "cosine", "--learning-rate", "0.05"],
}


@pytest.mark.parametrize("method", METHODS)
def test_n_steps_then_m_steps_equal_n_plus_m_steps(workspace, method):
    options = [*METHODS[method], "--horizon", "14", "--log-every", "4", "--snapshots", "5"]
    assert main([*QUICK, "--out", "whole", "--steps", "14", *options]) == 0
    assert main([*QUICK, "--out", "parts", "--steps", "6", *options]) == 0
    assert main(["resume", "parts", "--steps", "14"]) == 0
    assert read_digests("parts", 14) == read_digests("whole", 14)
    assert read_pictures("parts") == read_pictures("whole")
    assert Path("parts/config.json").read_bytes() == Path("whole/config.json").read_bytes()
    # The last step of the shorter run was also logged; every other line is the same.
    assert [line for line in read_losses("parts") if line["step"] != 5] == read_losses("whole")


def test_an_extension_does_not_change_the_schedule(workspace):
    options = ["--schedule", "cosine", "--log-every", "100"]
    assert main([*QUICK, "--out", "parts", "--steps", "6", *options]) == 0
    assert main(["resume", "parts", "--steps", "12"]) == 0
    assert main([*QUICK, "--out", "whole", "--steps", "12", "--horizon", "6", *options]) == 0
    assert main([*QUICK, "--out", "other", "--steps", "12", *options]) == 0
    assert json.loads(Path("parts/config.json").read_text())["config"]["horizon"] == 6
    assert read_pictures("parts") == read_pictures("whole") != read_pictures("other")


RANDOM = """
def noisy(x, t, key):
    import jax

    return nstjax.losses.mean_squared(x * jax.random.uniform(key, x.shape), t)


def terms(config):
    same = nstjax.per_layer(nstjax.statistics.feature_map)
    return (
        nstjax.Term("content", ("relu2_1",), lambda f: f["relu2_1"], noisy, "content"),
        nstjax.Term("style", ("relu1_1",), same, nstjax.layer_sum(nstjax.losses.mean_squared), "content"),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_mean_squared),
    )
"""


TRANSPORT = """
def terms(config):
    from nstjax.losses import relaxed_earth_mover, sampled, sampled_alike, self_similarity, sliced_wasserstein

    maps, vectors = nstjax.per_layer(nstjax.statistics.feature_map), nstjax.statistics.feature_vectors
    alike, earth = sampled_alike(self_similarity, positions=64), sampled(relaxed_earth_mover, positions=64)
    return (
        nstjax.Term("content", config.layers["content"], maps, alike, "content"),
        nstjax.style_term(config.layers["style"], vectors, nstjax.layer_sum(sliced_wasserstein)),
        nstjax.Term("tv", config.layers["style"], maps, earth, "style"),
    )
"""


@pytest.mark.parametrize("terms", [RANDOM, TRANSPORT], ids=["noise", "transport"])
def test_a_run_with_random_numbers_can_be_stopped_anywhere(workspace, terms):
    """The run stops every few steps; each process draws what the uninterrupted one would have drawn."""
    Path("quick.py").write_text(Path("quick.py").read_text().partition("def terms")[0] + terms)
    assert main([*QUICK, "--out", "whole", *SMALL]) == 0
    experiment = load("quick.py").replace(
        weights="vgg.safetensors", steps=14, horizon=14, log_every=4, snapshots=(5,), snapshot_every=6
    )
    steps = nstjax.stylize("content.png", "style.png", experiment=experiment, out="parts", listener=StopAt(1)).steps
    assert 1 <= steps < 14
    stops = 0
    while steps < 14:
        steps = nstjax.resume("parts", listener=StopAt(steps + 3)).steps
        stops += 1
    assert stops >= 3
    assert read_pictures("parts") == read_pictures("whole")
    assert read_losses("parts") == read_losses("whole")
    assert read_digests("parts", 14) == read_digests("whole", 14)


def test_a_result_has_the_metrics_from_before_the_resume(workspace):
    assert main([*QUICK, "--out", "out", "--steps", "5", "--log-every", "2"]) == 0
    result = nstjax.resume("out", steps=9)
    np.testing.assert_array_equal(result.metrics["step"], [0, 2, 4, 6, 8])
    assert (np.diff(result.metrics["wall_seconds"]) >= 0).all() and result.steps == 9
    np.testing.assert_array_equal(images.read("out/output.png").rgb, np.round(result.picture * 255) / np.float32(255))


def test_a_resume_needs_only_the_folder(workspace, monkeypatch):
    """The run is moved, without the pictures and the experiment file, and without what a resume does not read."""
    assert main([*QUICK, "--out", "whole", "--steps", "9"]) == 0
    assert main([*QUICK, "--out", "parts", "--steps", "9", "--checkpoint-every", "4", "--checkpoint-keep", "3"]) == 0
    for path in ("content.png", "style.png", "quick.py"):
        Path(path).unlink()
    for path in Path("parts").iterdir():
        if path.name not in ("config.json", "inputs", "checkpoints"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree("parts/checkpoints/9")
    (workspace / "elsewhere").mkdir()
    shutil.move("parts", "elsewhere/moved")
    monkeypatch.chdir("elsewhere")
    assert main(["resume", "moved"]) == 0
    # The records differ in their checkpoint settings, so only the pixels are the same.
    np.testing.assert_array_equal(images.read("moved/output.png").rgb, images.read(workspace / "whole/output.png").rgb)


def test_a_resume_of_a_finished_run_draws_deleted_files_again(made):
    before = read_pictures("small")
    Path("small/output.png").unlink()
    Path("small/report.html").unlink()
    assert main(["resume", "small", "--save", "again.png"]) == 0
    assert read_pictures("small") == before and Path("small/report.html").exists()
    assert Path("again.png").read_bytes() == before["output.png"]


def test_a_run_without_checkpoints_starts_again(made, capsys):
    before, lines = read_pictures("small"), read_losses("small")
    shutil.rmtree("small/checkpoints")
    assert main(["resume", "small"]) == 0
    assert "there is no checkpoint: starting again at step 0" in capsys.readouterr().err
    assert read_pictures("small") == before and read_losses("small") == lines


def test_moved_weights_are_found(made, monkeypatch, capsys):
    Path("vgg.safetensors").rename("moved.safetensors")
    assert main(["resume", "out", "--steps", "6"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "vgg.safetensors" in error and "$NSTJAX_WEIGHTS" in error
    monkeypatch.setenv("NSTJAX_WEIGHTS", "moved.safetensors")
    assert main(["resume", "out", "--steps", "6"]) == 0


def test_a_learnt_network_is_read_from_the_folder(workspace, quick_learning):
    arguments = ["self-taught" if argument == "vgg.safetensors" else argument for argument in QUICK]
    assert main([*arguments, "--out", "whole", "--steps", "6"]) == 0
    assert main([*arguments, "--out", "parts", "--steps", "3", "--horizon", "6", "--log-every", "1"]) == 0
    before = Path("parts/inputs/weights.safetensors").stat().st_mtime_ns
    assert main(["resume", "parts", "--steps", "6"]) == 0
    assert Path("parts/inputs/weights.safetensors").stat().st_mtime_ns == before
    np.testing.assert_array_equal(images.read("parts/output.png").rgb, images.read("whole/output.png").rgb)
    Path("parts/inputs/weights.safetensors").unlink()
    assert main(["resume", "parts", "--steps", "8"]) == 2


def test_terms_made_in_python_must_be_passed_again(workspace, capsys):
    experiment = load("quick.py")
    in_python = nstjax.Experiment("mine", experiment.config, experiment.terms).replace(weights="vgg.safetensors")
    nstjax.stylize("content.png", "style.png", experiment=in_python, out="out", steps=4)
    assert main(["resume", "out", "--steps", "6"]) == 2
    assert "were defined in Python" in capsys.readouterr().err
    assert nstjax.resume("out", steps=6, experiment=in_python).steps == 6


def test_a_run_stopped_while_compiling_can_be_resumed(made, monkeypatch):
    """The folder is complete before compilation begins, including learnt weights, which take minutes."""

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nstjax.runs.compiling.compile", interrupt)
        assert main([*QUICK, "--out", "stopped", *SMALL]) == 130
    assert main(["resume", "stopped"]) == 0
    assert read_pictures("stopped") == read_pictures("small")


def test_lost_metrics_give_a_warning(workspace, capsys):
    assert main([*QUICK, "--out", "out", "--steps", "8", "--log-every", "2"]) == 0
    whole = Path("out/metrics.jsonl").read_text().splitlines(keepends=True)
    for lines, message in (
        (whole[:2] + whole[3:], "lacks 1 of the logged steps before step 8"),
        ([*whole[:3], whole[3][:20]], "lacks 1 of the logged steps before step 8"),
        ([], "lacks 4 of the logged steps before step 8"),
        ([*whole, whole[-1]], None),
    ):
        Path("out/metrics.jsonl").write_text("".join(lines))
        capsys.readouterr()
        assert main(["resume", "out", "--quiet"]) == 0
        error = capsys.readouterr().err
        assert (message in error) if message else error == ""
        assert len({line["step"] for line in read_losses("out")}) == len(read_losses("out"))


@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00\n", b"hello\n", b"[]\n", b'{"epoch": 1}\n'])
def test_metrics_with_garbage_are_refused_in_one_line(made, capsys, garbage):
    content = Path("out/metrics.jsonl").read_bytes()
    Path("out/metrics.jsonl").write_bytes(garbage + content)
    capsys.readouterr()
    assert main(["resume", "out", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "metrics.jsonl has a line that is not a logged step" in error


def test_a_damaged_snapshot_is_left_out(made, capsys):
    Path("small/snapshots/000012.png").write_text("x")
    capsys.readouterr()
    assert main(["resume", "small", "--quiet"]) == 0
    assert "000012.png is left out" in capsys.readouterr().err
    page = Path("small/report.html").read_text()
    assert "step 5" in page and "step 12<" not in page


def test_leftovers_of_a_kill_after_the_last_step_are_removed(made):
    # The run is killed while it removes a checkpoint, and no further one will be written.
    Path("out/checkpoints/.3.old/d").mkdir(parents=True)
    # Or it was killed while it wrote other files.
    Path("out/inputs/modules/package").mkdir(parents=True)
    for folder in ("out", "out/inputs", "out/inputs/modules/package"):
        Path(folder, ".0123456789abcdef.part").write_bytes(b"half of a fi")
    assert main(["resume", "out", "--quiet"]) == 0
    assert [path.name for path in Path("out").rglob(".*")] == [".lock"]


def test_a_folder_with_other_files_is_refused(workspace, capsys):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    assert main([*QUICK, "--out", "mine"]) == 2
    assert "mine is not empty (thesis.txt is in it)" in capsys.readouterr().err
    # A run that was killed before its record was written does not block the folder.
    Path("killed/inputs").mkdir(parents=True)
    Path("killed/.lock").touch()
    assert main([*QUICK, "--out", "killed"]) == 0


# Changed files are refused in one line, and nothing is changed.


RECORD = Path("out/config.json")
INPUTS = Path("out/inputs")


def edit(*, reseal=False, config=None, **changes):
    """Change the record of the run in out/, and its checksum too if `reseal`."""
    content = json.loads(RECORD.read_text())
    content |= {"config": {**content["config"], **(config or {})}, **changes}
    RECORD.write_text(json.dumps(seal(content) if reseal else content))


def append(path, text):
    path.write_text(path.read_text() + text)


REFUSED = {
    "an edited setting": (lambda: edit(config={"learning_rate": 0.5}), "was changed after the run began"),
    "an edited number of steps": (lambda: edit(config={"steps": 99}), "was changed after the run began"),
    "another schema": (lambda: edit(schema=1), f"has schema 1, but this nstjax reads {SCHEMA}: use the nstjax that"),
    "settings of another version": (lambda: edit(reseal=True, config={"x": 1}), "with other settings .x.: use that"),
    "a truncated record": (lambda: RECORD.write_text('{"schema": 2, '), "is not the record of a run"),
    "a record that is a list": (lambda: RECORD.write_text("[]"), "is not the record of a run"),
    "no record": (RECORD.unlink, "no run in out"),
    "other weights": (
        lambda: write("vgg.safetensors", random_weights("block2_conv1", seed=5)),
        "holds other weights than the run began with",
    ),
    "another picture": (
        lambda: np.save(INPUTS / "start.npy", np.zeros((24, 32, 3), np.float32)),
        "is not the picture that the run began with",
    ),
    "a missing picture": ((INPUTS / "style.npy").unlink, "style.npy, which is needed to resume"),
    "an emptied picture": (lambda: (INPUTS / "style.npy").write_bytes(b""), "style.npy, which is needed to resume"),
    "an edited experiment": (
        lambda: append(INPUTS / "experiment.py", "\n"),
        "experiment.py was changed after the run began",
    ),
    "a missing experiment": ((INPUTS / "experiment.py").unlink, "cannot read the experiment"),
}


def read_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("case", REFUSED)
def test_a_changed_run_is_refused(made, capsys, case):
    damage, message = REFUSED[case]
    damage()
    before = read_files(Path("out"))
    capsys.readouterr()
    assert main(["resume", "out", "--steps", "9", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert re.search(message, captured.err), captured.err
    assert read_files(Path("out")) == before


def test_an_edited_and_resealed_record_matches_no_checkpoint(made, capsys):
    edit(reseal=True, config={"learning_rate": 0.5})
    before = read_files(Path("out"))
    assert main(["resume", "out", "--steps", "9"]) == 1
    error = capsys.readouterr().err
    assert "belongs to another run" in error and "start again at step 0" in error
    assert read_files(Path("out")) == before


def test_damaged_checkpoints_are_skipped_and_a_whole_one_is_needed(workspace, capsys):
    assert main([*QUICK, "--out", "whole", "--steps", "9", "--checkpoint-every", "3"]) == 0
    shutil.copytree("whole", "out")
    for step in (9, 6):
        (seal,) = Path("out/checkpoints", str(step)).glob("seal.json")
        seal.write_bytes(seal.read_bytes()[:-9])
    capsys.readouterr()
    assert main(["resume", "out"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 2 and "step 9 is damaged" in warnings[0] and "step 6 is damaged" in warnings[1]
    assert read_pictures("out") == read_pictures("whole") and read_losses("out") == read_losses("whole")
    for seal in Path("out/checkpoints").glob("*/seal.json"):
        seal.unlink()
    before = read_files(Path("out"))
    assert main(["resume", "out"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("nstjax: all checkpoints in ")
    assert read_files(Path("out")) == before


def test_other_versions_give_a_warning(made, capsys, monkeypatch):
    now = resolve._package_versions()
    monkeypatch.setattr("nstjax.experiment.resolve._package_versions", lambda: {**now, "jax": "9.9"})
    assert main(["resume", "out", "--steps", "6"]) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "jax" in warning and "9.9" in warning and "the last bits may differ" in warning


# Two processes and one folder.

HOLDER = """
import sys, time
from nstjax.storage.run_folder import RunFolder
with RunFolder("out").lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_living_process_locks_the_folder_and_a_killed_one_does_not(made, capsys):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    before = read_files(Path("out"))
    assert RunFolder("out").is_locked()
    capsys.readouterr()
    assert main(["resume", "out", "--steps", "6"]) == 2
    assert "another process is working in out" in capsys.readouterr().err
    assert read_files(Path("out")) == before
    assert main(["status", "out"]) == 0
    assert "a process is working on it" in capsys.readouterr().out
    holder.kill()
    holder.communicate()
    assert not RunFolder("out").is_locked()
    assert main(["resume", "out", "--steps", "6"]) == 0


def test_the_folder_is_free_again_after_a_failure(made):
    with pytest.raises(UserError, match="can be extended, not cut"):
        nstjax.resume("out", steps=2)
    with pytest.raises(ZeroDivisionError), RunFolder("out").lock():
        raise ZeroDivisionError
    assert nstjax.resume("out", steps=5).steps == 5
