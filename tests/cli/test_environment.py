"""Surroundings that are not as they should be: one line, exit code 2, nothing left behind."""

import re
from pathlib import Path

import jax
import pytest
from quick_run import QUICK, drop_import_times, run_process

from nstjax.cli import main
from nstjax.system.files import user_cache_path

VARIABLES = {
    "JAX_PLATFORMS": ("nonsense", "cannot start the platform nonsense, which JAX_PLATFORMS names .*name another"),
    "JAX_ENABLE_X64": ("banana", "JAX does not start: .*JAX_ENABLE_X64"),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_jax_rejects_is_one_line(workspace, variable):
    value, message = VARIABLES[variable]
    done = run_process(*QUICK, **{variable: value})
    assert done.returncode == 2
    (line,) = drop_import_times(done.stderr)
    assert re.match(f"nstjax: .*{message}", line), line
    assert not Path("runs").exists()


def test_devices_that_do_not_start_are_one_line(capsys, monkeypatch):
    def fail():
        raise AssertionError  # as JAX does without its package for a platform

    monkeypatch.setattr(jax, "local_devices", fail)
    assert main(["devices"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "JAX" in error and "not installed" in error


def test_a_current_folder_that_was_removed_is_one_line(capsys, monkeypatch):
    def fail():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("os.getcwd", fail)
    assert main(["presets"]) == 2
    assert capsys.readouterr().err == (
        "nstjax: the current folder cannot be used (No such file or directory): change to another with cd\n"
    )


def test_a_current_folder_that_cannot_be_written_is_one_line(workspace, capsys):
    Path("runs").touch()
    assert main(QUICK) == 2
    assert capsys.readouterr().err == "nstjax: cannot write into runs: File exists; choose another folder with --out\n"


def test_a_user_without_a_home_folder_gets_no_folder_of_that_name(workspace, monkeypatch, capsys):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert not user_cache_path().exists() and user_cache_path().is_absolute()
    assert main(["weights", "convert", "vgg.safetensors"]) in (0, 1, 2)
    assert capsys.readouterr().err.count("\n") <= 1
    assert not Path("~").exists()


# Too little memory, which the system or the device notices after the checks.


def run_out_of_memory(*arguments, **options):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")


def test_too_little_memory_to_compile_is_one_line_and_leaves_nothing(workspace, capsys, monkeypatch):
    monkeypatch.setattr("nstjax.runs.compiling.compile", run_out_of_memory)
    assert main([*QUICK, "--out", "out", "--quiet"]) == 1
    assert capsys.readouterr().err == "nstjax: out of memory: choose a smaller --size\n"
    assert not Path("out").exists()


def test_too_little_memory_for_a_step_is_one_line_and_the_run_can_be_resumed(workspace, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("nstjax.runs.loop.jax.block_until_ready", run_out_of_memory)
        assert main([*QUICK, "--out", "out", "--quiet", "--steps", "1"]) == 1
    assert capsys.readouterr().err == (
        "nstjax: out of memory: free some, then run: nstjax resume out; or begin again with a smaller --size\n"
    )
    assert main(["resume", "out", "--quiet"]) == 0
    assert Path("out/output.png").exists()


def test_too_little_memory_for_a_sweep_is_one_line(workspace, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("nstjax.sweeps.sweep.choose_group_size", fail)
    assert main(["sweep", *QUICK[1:], "--style-weight", "1", "10", "--out", "out", "--quiet"]) == 1
    assert capsys.readouterr().err == "nstjax: out of memory: choose a smaller --size, or a smaller --group-size\n"
    assert not Path("out").exists()
