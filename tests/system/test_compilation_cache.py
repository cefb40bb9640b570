"""The persistent compilation cache: later processes find the programs and compute the same, and damage is repaired."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import fill_workspace
from quick_run import QUICK, drop_import_times, keep_copy, read_losses, restore_copy, run_process

from nstjax.network import weights
from nstjax.system import compilation_cache
from nstjax.system.permissions import find_writable_by_others

ON = {"JAX_ENABLE_COMPILATION_CACHE": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
"""An environment in which every program is cached, however quickly it compiles."""


@pytest.fixture(autouse=True)
def _without_the_tests_cache(monkeypatch):
    remove_the_tests_cache(monkeypatch)


def remove_the_tests_cache(monkeypatch):
    """Remove the cache that the tests share."""
    for name in list(os.environ):
        if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")):
            monkeypatch.delenv(name)


def run(out, *options):
    """Run a few steps with the cache; return the lines on stderr."""
    done = run_process(*QUICK, "--out", out, "--quiet", *options, **ON)
    assert done.returncode == 0, done.stderr
    return drop_import_times(done.stderr)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return a folder with a run in first/ and its programs in programs/, made once for all tests, and its copy."""
    folder = tmp_path_factory.mktemp("kept")
    fill_workspace(folder)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        remove_the_tests_cache(patch)
        assert run("first", "--compilation-cache", "programs") == []
    return keep_copy(folder)


@pytest.fixture
def first(kept, monkeypatch):
    """Change to the folder with a run and its programs, as it was when they were made: pictures name its path."""
    monkeypatch.chdir(restore_copy(*kept))


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


def test_a_second_process_loads_the_programs_and_computes_the_same(first):
    """The option sets the folder, and none disables the cache; the folder in the user's cache is another one."""
    before, accessed = programs("programs"), times("programs")
    assert any(name.startswith("jit_run_chunk-") for name in before) and len(accessed) == len(before)
    assert run("loaded", "--compilation-cache", "programs") == []
    assert programs("programs") == before
    assert all(time != accessed[name] for name, time in times("programs").items())
    assert run("without", "--compilation-cache", "none") == []
    assert not compilation_cache.locate_cache(None).parent.exists() and not Path("none").exists()
    assert run("unnamed") == []
    assert programs(compilation_cache.locate_cache(None).parent).keys() == before.keys()
    assert all(same_results("first", other) for other in ("loaded", "without", "unnamed"))


def test_sweeps_and_resumed_runs_use_the_cache(workspace):
    sweep = ["sweep", *QUICK[1:], "--style-weight", "1", "2", "--out", "sweep", "--compilation-cache", "programs"]
    assert run_process(*sweep, **ON).returncode == 0
    assert any(name.startswith("jit_run_chunks-") for name in programs("programs"))
    first = times("programs")
    done = run_process("resume", "sweep", "--steps", "9", "--compilation-cache", "programs", **ON)
    assert done.returncode == 0, done.stderr
    (chunk,) = (name for name in first if name.startswith("jit_run_chunks-"))
    assert times("programs")[chunk] != first[chunk]


def test_damaged_programs_are_compiled_and_cached_again(first):
    whole = programs("programs")
    for path in Path("programs").glob("*/*-cache"):
        os.truncate(path, path.stat().st_size // 2)
    (warning,) = run("second", "--compilation-cache", "programs")
    assert re.match("nstjax: warning: reading a compiled program in .* failed .* it is compiled again$", warning)
    assert programs("programs").keys() == whole.keys()
    assert run("third", "--compilation-cache", "programs") == []
    assert same_results("first", "second") and same_results("first", "third")


def test_half_written_programs_of_a_killed_process_are_replaced(first):
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
for place in eval(sys.argv[1]):
    with enable_cache(place, print):
        values = jax.config.values
        enabled = values["jax_enable_compilation_cache"]
        print(enabled and values["jax_compilation_cache_dir"], values["jax_compilation_cache_max_size"])
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {},
            {None: r"\S+/cache/nstjax/xla/\S+ 2147483648", "mine": r"\S+/mine/\S+ 2147483648"},
        ),
        (
            {"JAX_COMPILATION_CACHE_DIR": "external"},
            {None: r"external -1", "mine": r"\S+/mine/\S+ 2147483648"},
        ),
        ({}, {"none": r"False -1"}),
        ({"JAX_COMPILATION_CACHE_DIR": "external"}, {"none": r"False -1"}),
        ({"JAX_COMPILATION_CACHE_MAX_SIZE": "12345"}, {None: r"\S+/cache/nstjax/xla/\S+ 12345"}),
        ({"JAX_ENABLE_COMPILATION_CACHE": "0"}, {"mine": r"False -1"}),
    ],
)
def test_jax_settings_of_the_user_take_precedence(tmp_path, monkeypatch, environment, expected):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", PRINT_SETTINGS, repr([*expected])]
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "1", **environment}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    for line, pattern in zip(output.splitlines(), expected.values(), strict=True):
        assert re.fullmatch(pattern, line), output
    assert "external" not in os.listdir() and ("mine" in os.listdir()) == ("/mine/" in output)


# A folder that others can write to is not used.


def make_folder(path, mode, *, owner=None, group=None):
    path.mkdir(parents=True, exist_ok=True)
    if (owner, group) != (None, None):
        if os.getuid():
            pytest.skip("only root can give files to another user")
        os.chown(path, -1 if owner is None else owner, -1 if group is None else group)
    path.chmod(mode)
    return path


STRANGER = 54321
DANGERS = {
    "writable by all": ("a", 0o777, {}, "others can write to .*/a"),
    "writable by all, nobody can remove from it": ("a", 0o1777, {}, "others can write to .*/a"),
    "a parent that is writable by all": (".", 0o777, {}, "others can write to .*"),
    "writable by another group": ("a", 0o770, {"group": STRANGER}, "others can write to .*/a"),
    "another user's": ("a", 0o755, {"owner": STRANGER}, "a belongs to another user"),
    "a parent of another user": (".", 0o755, {"owner": STRANGER}, "belongs to another user"),
    "private": ("a", 0o700, {}, None),
    "readable by all": ("a", 0o755, {}, None),
    "a parent that is writable by all, but nobody can remove from it": (".", 0o1777, {}, None),
    "writable by the system's group": ("a", 0o770, {"group": 0}, None),
}


@pytest.mark.parametrize("case", DANGERS)
def test_who_can_write_to_a_folder(tmp_path, case):
    name, mode, owners, expected = DANGERS[case]
    top = make_folder(tmp_path / "top", 0o700)
    make_folder(top / "a", 0o700)
    make_folder(top / name, mode, **owners)
    for folder in (top / "a", top / "a" / "later" / "still"):
        if name == "a" and mode == 0o1777 and folder != top / "a":
            continue  # what lies in it is its owner's
        found = find_writable_by_others(folder)
        assert found is None if expected is None else re.search(expected, found), found


def test_the_group_that_a_user_has_alone_may_write(tmp_path, monkeypatch):
    class User:
        pw_gid, pw_name, gr_name, gr_mem = STRANGER, "ada", "ada", []

    monkeypatch.setattr("pwd.getpwuid", lambda user: User)
    monkeypatch.setattr("grp.getgrgid", lambda group: User)
    folder = make_folder(tmp_path / "a", 0o770, group=STRANGER)
    assert find_writable_by_others(folder) is None
    User.gr_mem = ["ada", "bob"]
    assert find_writable_by_others(folder) == f"others can write to {folder}"


@pytest.mark.parametrize("variable", [False, True], ids=["option", "JAX's variable"])
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch, variable):
    make_folder(tmp_path / "shared", 0o777)
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "1"}
    if variable:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "link")
    place = None if variable else str(tmp_path / "link")
    command = [sys.executable, "-c", PRINT_SETTINGS, repr([place])]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    warning, settings = output.splitlines()
    assert re.match(
        r"compiled programs are not kept, since they would be executed and others can write to .*/shared: ", warning
    )
    assert settings.startswith("False ") and not [*Path(tmp_path / "shared").iterdir()]


def test_a_new_folder_is_for_its_user_alone(tmp_path):
    before = os.umask(0)
    try:
        compilation_cache._make_private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]
