"""Compiled programs that one process leaves to the next: found again, of the same results, and in nobody's way."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from quick_run import QUICK, losses, process, without_import_times

from nstjax.network import weights
from nstjax.system import compilation_cache

ON = {"JAX_ENABLE_COMPILATION_CACHE": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch):
    """Without the cache that the tests share."""
    for name in [it for it in os.environ if it.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE"))]:
        monkeypatch.delenv(name)


"""Every program counts here, however soon it is compiled."""


def run(out, *options):
    """A short run with the cache; returns what it said on stderr."""
    done = process(*QUICK, "--out", out, "--quiet", *options, **ON)
    assert done.returncode == 0, done.stderr
    return without_import_times(done.stderr)


def programs(place):
    return {path.name: path.read_bytes() for path in Path(place).glob("*/*-cache")}


def times(place):
    """When each program was last asked for."""
    return {path.name: path.read_bytes() for path in Path(place).glob("*/*-atime")}


def same_results(one, other):
    pictures = {Path(it, "output.png").read_bytes() for it in (one, other)}
    return len(pictures) == 1 and losses(one) == losses(other)


def test_the_folder_is_in_the_users_cache_beside_the_weights(tmp_path):
    folder = compilation_cache.folder(None)
    assert folder.parent == tmp_path / "cache" / "nstjax" / "xla" == weights.cache_folder().parent / "xla"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*-[0-9a-f]{12}", folder.name)
    assert compilation_cache.folder("mine") == Path("mine", folder.name)
    assert not folder.parent.exists()


def test_another_machine_and_other_cores_have_another_folder(monkeypatch):
    folders = {compilation_cache.folder("x")}
    with monkeypatch.context() as patch:
        patch.setattr("nstjax.system.devices.processor", lambda: "another")
        folders.add(compilation_cache.folder("x"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda process: {*range(999)}, raising=False)
        folders.add(compilation_cache.folder("x"))
    with monkeypatch.context() as patch:
        patch.setattr(compilation_cache, "_features", lambda: ["flags: fpu avx512f"])
        folders.add(compilation_cache.folder("x"))
    monkeypatch.setenv("NPROC", "1")
    folders.add(compilation_cache.folder("x"))
    assert len(folders) == 5


def test_a_second_process_finds_the_programs_and_computes_the_same(place):
    assert run("compiled") == []
    cache = compilation_cache.folder(None).parent
    first, asked = programs(cache), times(cache)
    assert any(name.startswith("jit_run_chunk-") for name in first) and len(asked) == len(first)
    assert run("found") == []
    assert programs(cache) == first
    assert all(time != asked[name] for name, time in times(cache).items())
    assert run("without", "--compilation-cache", "none") == []
    assert same_results("compiled", "found") and same_results("compiled", "without")


def test_the_option_places_it_and_none_disables_it(place):
    assert run("kept", "--compilation-cache", "programs") == []
    assert programs("programs")
    assert run("not-kept", "--compilation-cache", "none") == []
    assert not compilation_cache.folder(None).parent.exists() and not Path("none").exists()


def test_sweeps_and_resumes_find_them_too(place):
    sweep = ["sweep", *QUICK[1:], "--style-weight", "1", "2", "--out", "sweep", "--compilation-cache", "programs"]
    assert process(*sweep, **ON).returncode == 0
    assert any(name.startswith("jit_run_chunks-") for name in programs("programs"))
    first = times("programs")
    done = process("resume", "sweep", "--steps", "9", "--compilation-cache", "programs", **ON)
    assert done.returncode == 0, done.stderr
    (chunk,) = (name for name in first if name.startswith("jit_run_chunks-"))
    assert times("programs")[chunk] != first[chunk]


def test_damaged_programs_are_compiled_anew_and_kept_again(place):
    run("first", "--compilation-cache", "programs")
    whole = programs("programs")
    for path in Path("programs").glob("*/*-cache"):
        os.truncate(path, path.stat().st_size // 2)
    (warning,) = run("second", "--compilation-cache", "programs")
    assert re.match("nstjax: warning: reading a compiled program in .* failed .* it is compiled anew$", warning)
    assert programs("programs").keys() == whole.keys()
    assert run("third", "--compilation-cache", "programs") == []
    assert same_results("first", "second") and same_results("first", "third")


def test_what_a_killed_process_left_half_written_is_in_nobodys_way(place):
    run("first", "--compilation-cache", "programs")
    whole = programs("programs")
    time, *_, gone = sorted(Path("programs").glob("*/*-atime"))
    time.unlink()  # killed between a program and its time
    gone.unlink()
    gone.with_name(gone.name.removesuffix("atime") + "cache").unlink()  # another, still to be written
    assert run("second", "--compilation-cache", "programs") == []
    assert programs("programs").keys() == whole.keys() == {it.replace("-atime", "-cache") for it in times("programs")}


def test_a_folder_that_cannot_be_written_is_one_warning(place):
    (warning,) = run("out", "--compilation-cache", "style.png")
    assert re.match(
        r"nstjax: warning: compiled programs are not kept: cannot write style\.png/.*Not a directory", warning
    )
    assert Path("out/output.png").exists()


def test_a_disk_that_is_full_is_one_warning(place, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (it needs root)")
    try:
        (warning,) = run("out", "--compilation-cache", str(disk))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert re.match(r"nstjax: warning: writing a compiled program in .* No space left .* it is not kept$", warning)


def test_two_processes_at_once_share_it(place):
    command = [sys.executable, "-m", "nstjax", *QUICK, "--quiet", "--compilation-cache", "programs", "--out"]
    both = [
        subprocess.Popen([*command, out], stderr=subprocess.PIPE, text=True, env={**os.environ, **ON}) for out in "ab"
    ]
    assert [it.communicate()[1] for it in both] == ["", ""]
    assert [it.returncode for it in both] == [0, 0]
    assert same_results("a", "b")
    assert run("c", "--compilation-cache", "programs") == [] and same_results("a", "c")


TOLD = """
import sys, jax
from nstjax.compilation import cached
with cached(*eval(sys.argv[1]), print):
    now = jax.config.values
    enabled = now["jax_enable_compilation_cache"]
    print(enabled and now["jax_compilation_cache_dir"], now["jax_compilation_cache_max_size"])
"""


@pytest.mark.parametrize(
    ("place_given", "environment", "expected"),
    [
        (None, {}, r"\S+/cache/nstjax/xla/\S+ 2147483648"),
        ("mine", {}, r"mine/\S+ 2147483648"),
        ("none", {}, r"False -1"),
        (None, {"JAX_COMPILATION_CACHE_DIR": "theirs"}, r"theirs -1"),
        ("mine", {"JAX_COMPILATION_CACHE_DIR": "theirs"}, r"mine/\S+ 2147483648"),
        ("none", {"JAX_COMPILATION_CACHE_DIR": "theirs"}, r"False -1"),
        (None, {"JAX_COMPILATION_CACHE_MAX_SIZE": "12345"}, r"\S+/cache/nstjax/xla/\S+ 12345"),
        ("mine", {"JAX_ENABLE_COMPILATION_CACHE": "0"}, r"False -1"),
    ],
)
def test_what_the_user_told_jax_stays(tmp_path, monkeypatch, place_given, environment, expected):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", TOLD, repr((place_given,))]
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "1", **environment}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert re.fullmatch(expected + "\n", told), told
    assert "theirs" not in os.listdir() and ("mine" in os.listdir()) == told.startswith("mine")


def test_python_is_left_alone():
    code = "import nstjax.runs.stylize, jax; print(jax.config.values['jax_compilation_cache_dir'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "None\n"
