"""The persistent compilation cache: later processes find the programs and compute the same, and damage is repaired."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from quick_run import QUICK, drop_import_times, read_losses, run_process

from nstjax.network import weights
from nstjax.system import compilation_cache

ON = {"JAX_ENABLE_COMPILATION_CACHE": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
"""An environment in which every program is cached, however quickly it compiles."""


@pytest.fixture(autouse=True)
def _without_the_tests_cache(monkeypatch):
    """Remove the cache that the tests share."""
    for name in list(os.environ):
        if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")):
            monkeypatch.delenv(name)


def run(out, *options):
    """Run a few steps with the cache; return the lines on stderr."""
    done = run_process(*QUICK, "--out", out, "--quiet", *options, **ON)
    assert done.returncode == 0, done.stderr
    return drop_import_times(done.stderr)


def programs(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*/*-cache")}


def times(folder):
    """Return the last access time of each program."""
    return {path.name: path.read_bytes() for path in Path(folder).glob("*/*-atime")}


def same_results(one, other):
    pictures = {Path(folder, "output.png").read_bytes() for folder in (one, other)}
    return len(pictures) == 1 and read_losses(one) == read_losses(other)


def test_the_folder_is_in_the_users_cache_next_to_the_weights(tmp_path):
    folder = compilation_cache.locate_cache(None)
    assert folder.parent == tmp_path / "cache" / "nstjax" / "xla" == weights.cache_folder().parent / "xla"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*-[0-9a-f]{12}", folder.name)
    assert compilation_cache.locate_cache("mine") == Path("mine", folder.name)
    assert not folder.parent.exists()


def test_each_machine_and_number_of_cores_has_its_folder(monkeypatch):
    folders = {compilation_cache.locate_cache("x")}
    with monkeypatch.context() as patch:
        patch.setattr("nstjax.system.devices.processor_name", lambda: "another")
        folders.add(compilation_cache.locate_cache("x"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda process: {*range(999)}, raising=False)
        folders.add(compilation_cache.locate_cache("x"))
    with monkeypatch.context() as patch:
        patch.setattr(compilation_cache, "_cpu_features", lambda: ["flags: fpu avx512f"])
        folders.add(compilation_cache.locate_cache("x"))
    monkeypatch.setenv("NPROC", "1")
    folders.add(compilation_cache.locate_cache("x"))
    assert len(folders) == 5


def test_a_second_process_loads_the_programs_and_computes_the_same(workspace):
    assert run("compiled") == []
    cache = compilation_cache.locate_cache(None).parent
    first, accessed = programs(cache), times(cache)
    assert any(name.startswith("jit_run_chunk-") for name in first) and len(accessed) == len(first)
    assert run("loaded") == []
    assert programs(cache) == first
    assert all(time != accessed[name] for name, time in times(cache).items())
    assert run("without", "--compilation-cache", "none") == []
    assert same_results("compiled", "loaded") and same_results("compiled", "without")


def test_the_option_sets_the_folder_and_none_disables_the_cache(workspace):
    assert run("kept", "--compilation-cache", "programs") == []
    assert programs("programs")
    assert run("not-kept", "--compilation-cache", "none") == []
    assert not compilation_cache.locate_cache(None).parent.exists() and not Path("none").exists()


def test_sweeps_and_resumed_runs_use_the_cache(workspace):
    sweep = ["sweep", *QUICK[1:], "--style-weight", "1", "2", "--out", "sweep", "--compilation-cache", "programs"]
    assert run_process(*sweep, **ON).returncode == 0
    assert any(name.startswith("jit_run_chunks-") for name in programs("programs"))
    first = times("programs")
    done = run_process("resume", "sweep", "--steps", "9", "--compilation-cache", "programs", **ON)
    assert done.returncode == 0, done.stderr
    (chunk,) = (name for name in first if name.startswith("jit_run_chunks-"))
    assert times("programs")[chunk] != first[chunk]


def test_damaged_programs_are_compiled_and_cached_again(workspace):
    run("first", "--compilation-cache", "programs")
    whole = programs("programs")
    for path in Path("programs").glob("*/*-cache"):
        os.truncate(path, path.stat().st_size // 2)
    (warning,) = run("second", "--compilation-cache", "programs")
    assert re.match("nstjax: warning: reading a compiled program in .* failed .* it is compiled again$", warning)
    assert programs("programs").keys() == whole.keys()
    assert run("third", "--compilation-cache", "programs") == []
    assert same_results("first", "second") and same_results("first", "third")


def test_half_written_programs_of_a_killed_process_are_replaced(workspace):
    run("first", "--compilation-cache", "programs")
    whole = programs("programs")
    time, *_, missing = sorted(Path("programs").glob("*/*-atime"))
    time.unlink()  # killed between a program and its time
    missing.unlink()
    missing.with_name(missing.name.removesuffix("atime") + "cache").unlink()  # another, still to be written
    assert run("second", "--compilation-cache", "programs") == []
    assert (
        programs("programs").keys() == whole.keys() == {name.replace("-atime", "-cache") for name in times("programs")}
    )


def test_an_unwritable_folder_causes_one_warning(workspace):
    (warning,) = run("out", "--compilation-cache", "style.png")
    assert re.match(
        r"nstjax: warning: compiled programs are not kept: cannot write style\.png/.*Not a directory", warning
    )
    assert Path("out/output.png").exists()


def test_a_full_disk_causes_one_warning(workspace, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (it needs root)")
    try:
        (warning,) = run("out", "--compilation-cache", str(disk))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert re.match(r"nstjax: warning: writing a compiled program in .* No space left .* it is not kept$", warning)


def test_two_processes_share_the_cache_at_the_same_time(workspace):
    command = [sys.executable, "-m", "nstjax", *QUICK, "--quiet", "--compilation-cache", "programs", "--out"]
    processes = [
        subprocess.Popen([*command, out], stderr=subprocess.PIPE, text=True, env={**os.environ, **ON}) for out in "ab"
    ]
    assert [process.communicate()[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert same_results("a", "b")
    assert run("c", "--compilation-cache", "programs") == [] and same_results("a", "c")


PRINT_SETTINGS = """
import sys, jax
from nstjax.system.compilation_cache import enable_cache
with enable_cache(*eval(sys.argv[1]), print):
    values = jax.config.values
    enabled = values["jax_enable_compilation_cache"]
    print(enabled and values["jax_compilation_cache_dir"], values["jax_compilation_cache_max_size"])
"""


@pytest.mark.parametrize(
    ("place_given", "environment", "expected"),
    [
        (None, {}, r"\S+/cache/nstjax/xla/\S+ 2147483648"),
        ("mine", {}, r"mine/\S+ 2147483648"),
        ("none", {}, r"False -1"),
        (None, {"JAX_COMPILATION_CACHE_DIR": "external"}, r"external -1"),
        ("mine", {"JAX_COMPILATION_CACHE_DIR": "external"}, r"mine/\S+ 2147483648"),
        ("none", {"JAX_COMPILATION_CACHE_DIR": "external"}, r"False -1"),
        (None, {"JAX_COMPILATION_CACHE_MAX_SIZE": "12345"}, r"\S+/cache/nstjax/xla/\S+ 12345"),
        ("mine", {"JAX_ENABLE_COMPILATION_CACHE": "0"}, r"False -1"),
    ],
)
def test_jax_settings_of_the_user_take_precedence(tmp_path, monkeypatch, place_given, environment, expected):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", PRINT_SETTINGS, repr((place_given,))]
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "1", **environment}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert re.fullmatch(expected + "\n", output), output
    assert "external" not in os.listdir() and ("mine" in os.listdir()) == output.startswith("mine")


def test_importing_the_library_leaves_the_cache_off():
    code = "import nstjax.runs.stylize, jax; print(jax.config.values['jax_compilation_cache_dir'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "None\n"
