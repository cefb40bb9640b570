"""Records that were damaged or written by hand: each is refused in one line, by whatever reads it."""

import contextlib
import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import fill_workspace
from quick_run import QUICK

from nstjax.callbacks import Listener
from nstjax.cli import main
from nstjax.errors import Failure, UserError
from nstjax.experiment import record
from nstjax.experiment.arrays import describe_array
from nstjax.experiment.resolve import restore
from nstjax.storage import status
from nstjax.storage.run_folder import RunFolder
from nstjax.system.plain_data import parse_json

NESTED = "[" * 200_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a finished run, made once for all tests of this file."""
    folder = tmp_path_factory.mktemp("finished")
    fill_workspace(folder)
    with contextlib.chdir(folder):
        assert main([*QUICK, "--out", "out", "--steps", "4", "--log-every", "1", "--quiet"]) == 0
    return folder


@pytest.fixture
def out(finished, tmp_path, monkeypatch):
    """Return a copy of the finished run."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return RunFolder("out")


def reseal(folder, content):
    folder.config.write_text(json.dumps(record.seal(content)))


def list_entries(content, path=()):
    """Yield the path of every entry of plain data."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from list_entries(value, (*path, key))


WRONG = (None, "x", -1, 2.5, float("nan"), 10**400, [], [1, [2]], {"a": 1}, True)


class Silent(Listener):
    def warning(self, message):
        pass


def test_a_wrong_value_anywhere_in_a_resealed_record_is_one_line(out):
    whole = out.read_record()
    experiment = out.read_experiment(whole, lambda line: None)
    refused = 0
    for path in list_entries(whole):
        if path[0] in ("schema", "sha256"):
            continue
        for value in (*WRONG, "remove"):
            changed = copy.deepcopy(whole)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            if value == "remove":
                del parent[path[-1]]
            reseal(out, changed)
            try:
                content = out.read_record()
                inputs = out.read_inputs(content)
                status.read_status(out)
                restore(content, experiment, inputs, out.weights, Silent())
            except (UserError, Failure) as error:
                assert "\n" not in str(error) and len(str(error)) < 800, error
                refused += 1
    assert refused > 1000


def damage_header(path):
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(file, header)


def swap_sides(path):
    array = np.load(path)
    np.save(path, array.reshape(array.shape[1], array.shape[0], 3))


def swap_bytes(path):
    path.write_bytes(path.read_bytes().replace(b"<f4", b">f4"))


def swap_for_archive(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


ARRAYS = {
    "a header of terabytes": damage_header,
    "a header of more than there is": lambda path: path.write_bytes(
        path.read_bytes().replace(b"(32,", b"(9999999999,")
    ),
    "another shape": swap_sides,
    "another order of bytes": swap_bytes,
    "objects": lambda path: np.save(path, np.array([{}, []], object), allow_pickle=True),
    "an archive": swap_for_archive,
    "a header of brackets": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118),
}


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("command", ["resume", "report"])
def test_another_array_is_refused_in_one_line(out, capsys, case, command):
    path = Path("out/inputs/style.npy")
    before = path.read_bytes()
    ARRAYS[case](path)
    assert path.read_bytes() != before
    capsys.readouterr()
    assert main([command, "out", *(["--quiet"] if command == "resume" else [])]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "style.npy" in error


SHAPES = {
    "start": np.zeros((24, 31, 3), np.float32),
    "content": np.zeros((5,), np.float32),
    "style": np.zeros((8, 8, 3), np.float64),
    "alpha": np.zeros((24, 32, 1), np.float32),
    "colours": np.zeros((1, 1, 3), np.float32),
}


@pytest.mark.parametrize("name", SHAPES)
def test_arrays_that_do_not_fit_together_are_refused(out, name):
    """Their checksums are right: somebody has written the record and the array."""
    content = out.read_record()
    np.save(f"out/inputs/{name}.npy", SHAPES[name])
    content["pictures"][name] = describe_array(SHAPES[name])
    reseal(out, content)
    with pytest.raises(UserError, match=rf"picture {name}.* must be float32 \[.*\], not float"):
        out.read_inputs(out.read_record())


FILES = {
    "a nested record": ("config.json", NESTED, 2, "is not the record of a run (it is nested too deeply)"),
    "half a record": ("config.json", '{"schema": 5, "sha', 2, "is not the record of a run (Unterminated string"),
    "a record of the version before": (
        "config.json",
        '{"schema": 4, "sha256": ""}',
        2,
        "has schema 4, but this nstjax",
    ),
    "a step that is a word": ("metrics.jsonl", '{"step": "x"}\n', 1, "step must be a number or true or false or null"),
    "a step and no losses": ("metrics.jsonl", '{"step": 2}\n', 1, "(step 2 lacks content)"),
    "a nested line": ("metrics.jsonl", NESTED + "\n", 1, "(it is nested too deeply)"),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("command", ["resume", "status", "report"])
def test_damaged_files_are_one_line_for_every_command(out, capsys, case, command):
    name, text, code, message = FILES[case]
    Path("out", name).write_text(text)
    capsys.readouterr()
    assert main([command, "out", *(["--quiet"] if command == "resume" else [])]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error


def test_a_step_that_the_run_does_not_have_is_refused(out, capsys):
    lines = out.metrics.read_text()
    out.metrics.write_text(lines + lines.splitlines()[0].replace('"step": 0', '"step": 4') + "\n")
    assert main(["status", "out"]) == 1
    assert "(it has step 4, and the run has 4)" in capsys.readouterr().err


@pytest.mark.parametrize("line", ['{"step": "x", "total": 1}', '{"step": 9, "total": "x"}', '{"step": 9}', NESTED])
def test_damaged_progress_is_ignored(out, line):
    out.progress.write_text(line)
    assert status.read_status(out).step == 4


def test_a_seal_of_a_checkpoint_that_is_nested_counts_as_damage(out, capsys):
    Path("out/checkpoints/4/seal.json").write_text(NESTED)
    assert main(["resume", "out", "--quiet"]) == 1
    assert "the checkpoint of step 4 is damaged (it has no readable seal.json)" in capsys.readouterr().err


def test_types_are_checked_to_the_last_entry():
    assert parse_json('{"a": [1, 2.5, null]}', dict[str, tuple[float | None, ...]]) == {"a": (1, 2.5, None)}
    for text, kind, message in (
        ("[1, true]", tuple[int, ...], "an entry of it must be a whole number, not True"),
        ('{"a": 1}', dict[str, str | None], "a must be a text or null, not 1"),
        ("1e999", int, "it must be a whole number, not inf"),
        (str(2**63), float, "it must be a number, not 9223372036854775808"),
        ("[", int, "Expecting value"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_json(text, kind)
