"""Checkpoints: restored exactly, or reported as damaged."""

import hashlib
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from nstjax import optimise, optimisers
from nstjax.errors import Failure, NotWritten
from nstjax.objective import Objective
from nstjax.optimise import Method, State
from nstjax.parameterisation import Fourier
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.contents import checkpoint_steps
from nstjax.types import PictureTerm

RUN = "a run's checksum"


def make_state(step, *, keep="best", parameterisation=None):
    """Return a state whose every number depends on the step."""
    method = Method(
        Objective((PictureTerm("mean", jnp.mean),)), optimisers.adam(), parameterisation or optimise.PIXELS, keep=keep
    )
    picture = np.random.default_rng(step).random((6, 5, 3), np.float32)
    state = optimise.init(method, jnp.asarray(picture), learning_rate=0.1 * step, key=jax.random.key(step))
    return State(**{**vars(state), "step": jnp.int32(step), "lowest": jnp.float32(1 / step)})


def same(a, b):
    """Return True if two states are equal to the last bit."""

    def to_arrays(state):
        data = State(**{**vars(state), "key": jax.random.key_data(state.key)})
        return [np.asarray(leaf) for leaf in jax.tree.leaves(data)]

    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(to_arrays(a), to_arrays(b), strict=True)
    )


ABSTRACT_STATE = jax.eval_shape(lambda: make_state(1))


def open_checkpoints(folder, **options):
    return Checkpoints(folder, **{"run": RUN, "keep": 3, **options})


def fail_on_warning(line):
    raise AssertionError(line)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write a folder with the checkpoints of steps 10, 20 and 30."""
    folder = tmp_path_factory.mktemp("written") / "checkpoints"
    checkpoints = open_checkpoints(folder)
    for step in (10, 20, 30):
        checkpoints.save(step, make_state(step))
    checkpoints.wait()
    checkpoints.close()
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def restore(folder, **options):
    """Return (state, warnings)."""
    warnings = []
    return open_checkpoints(folder, **options).restore(lambda _: ABSTRACT_STATE, warnings.append), warnings


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("parameterisation", [None, Fourier(6, 5)])
def test_a_state_is_restored_exactly(tmp_path, keep, parameterisation):
    state = make_state(7, keep=keep, parameterisation=parameterisation)
    checkpoints = open_checkpoints(tmp_path / "checkpoints")
    checkpoints.save(7, state)
    checkpoints.wait()
    abstract = jax.eval_shape(lambda: make_state(1, keep=keep, parameterisation=parameterisation))
    restored = open_checkpoints(tmp_path / "checkpoints").restore(lambda _: abstract, fail_on_warning)
    assert same(restored, state)
    assert jax.random.uniform(restored.key) == jax.random.uniform(state.key)


def test_without_checkpoints_there_is_no_state(tmp_path):
    assert restore(tmp_path / "nowhere") == (None, [])
    assert not (tmp_path / "nowhere").exists()


def test_the_newest_checkpoints_are_kept(written):
    assert checkpoint_steps(written) == [10, 20, 30]
    assert {path.name for path in written.iterdir()} == {"10", "20", "30"}


@pytest.mark.parametrize("large", [2**28, 0])
def test_a_saved_state_may_be_donated_at_once(tmp_path, monkeypatch, large):
    """The state is donated to the next chunk while the writer is still at work; unless it is large."""
    monkeypatch.setattr("nstjax.storage.checkpoints._LARGE", large)
    checkpoints = open_checkpoints(tmp_path / "checkpoints")
    state = make_state(5)
    checkpoints.save(5, state)
    jax.tree.map(lambda leaf: leaf.delete(), state)
    checkpoints.wait()
    restored, _ = restore(tmp_path / "checkpoints")
    assert same(restored, make_state(5))


def list_files(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def flip_bit(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_any_flipped_bit_is_noticed(folder):
    """Flip the first, the last and some other bits of every file; the checkpoint before is used, with one warning."""
    generator = np.random.default_rng(0)
    count = 0
    for path in list_files(folder / "30"):
        bits = 8 * path.stat().st_size
        for bit in {0, bits - 1, *generator.integers(bits, size=3).tolist()}:
            flip_bit(path, bit)
            state, warnings = restore(folder)
            assert same(state, make_state(20)), path
            assert len(warnings) == 1 and "step 30 is damaged" in warnings[0]
            flip_bit(path, bit)
            count += 1
    assert count > 30
    state, warnings = restore(folder)
    assert same(state, make_state(30)) and not warnings


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "swapped": lambda path: path.write_bytes(b"[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damaged_file_is_noticed(folder, damage):
    for path in list_files(folder / "30"):
        content = path.read_bytes()
        DAMAGES[damage](path)
        state, warnings = restore(folder)
        assert same(state, make_state(20)), path
        assert len(warnings) == 1 and "step 30 is damaged" in warnings[0]
        path.write_bytes(content)


def save(folder, *steps, **options):
    checkpoints = open_checkpoints(folder, **options)
    checkpoints.restore(lambda _: ABSTRACT_STATE, lambda line: None)
    for step in steps:
        checkpoints.save(step, make_state(step))
    checkpoints.wait()


OTHERS = ("30/.DS_Store", "30/d/._x", "30/notes.txt", "2024/photo.txt", "9999/.keep", ".git/HEAD", ".7.old.txt", "٣/x")


def test_files_of_others_change_nothing_and_stay(folder):
    """The folder may lie on another disk, with other folders in it."""
    for name in OTHERS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "77").touch()
    link = folder.with_name("link")
    link.symlink_to(folder)
    state, warnings = restore(link)
    assert same(state, make_state(30)) and not warnings and checkpoint_steps(link) == [10, 20, 30]
    save(link, 40, 50, 2024)
    assert same(restore(link)[0], make_state(2024)) and checkpoint_steps(link) == [40, 50, 2024]
    # The files of file browsers are removed with the folder that they describe.
    assert [name for name in OTHERS if (folder / name).exists()] == [*OTHERS[2:]]
    assert {path.name for path in (folder / "30").iterdir()} == {"notes.txt"} and (folder / "77").exists()
    assert not [path for path in folder.iterdir() if path.name.endswith((".old", ".part"))]


def test_a_file_or_the_checkpoint_of_another_run_is_never_replaced(folder):
    (folder / "40").write_text("mine")
    reseal(folder / "30", lambda seal: seal.update(run="another"))
    before = read_files(folder / "30")
    for step in (30, 40):
        with pytest.raises(NotWritten, match=rf"step {step} .*{step} is not of this run: move it away"):
            save(folder, step)
    save(folder, 50, 60, 70)
    assert read_files(folder / "30") == before and (folder / "40").read_text() == "mine"
    assert {path.name for path in folder.iterdir()} == {"30", "40", "50", "60", "70"}


# Letters that patterns, addresses and libraries give a meaning, and bytes that are no UTF-8.
NAMES = ["photo[1]", "a*b?{c}", "100% #1", "gs:", "a\\b", "new\nline", "é", "caf\udce9", "~", "$HOME", " -x "]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_folder_spoils_a_checkpoint(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    folder.parent.mkdir()
    save(folder, 10)
    state, warnings = restore(folder)
    assert same(state, make_state(10)) and not warnings
    assert [path.name for path in folder.iterdir()] == ["10"]


def test_the_first_checkpoint_is_read_back(tmp_path):
    checkpoints = open_checkpoints(tmp_path / "checkpoints")
    checkpoints.save(10, make_state(10))
    checkpoints.wait()
    orbax = checkpoints._orbax

    class WritesZeros:
        restore = orbax.restore

        def save(self, path, args):
            orbax.save(path, args=ocp.args.StandardSave(jax.tree.map(np.zeros_like, args.item)))

    checkpoints._orbax = WritesZeros()
    checkpoints.save(20, make_state(20))  # not noticed: reading costs time
    checkpoints.wait()
    unproven = open_checkpoints(tmp_path / "checkpoints")
    unproven._orbax = WritesZeros()
    unproven.save(30, make_state(30))
    with pytest.raises(NotWritten, match=r"checkpoint of step 30 .*: it cannot be read back \(.* has another digest\)"):
        unproven.wait()
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"10", "20"}


def reseal(checkpoint, change):
    seal = json.loads((checkpoint / "seal.json").read_text())
    del seal["sha256"]
    change(seal)
    digest = hashlib.sha256(json.dumps(seal).encode()).hexdigest()
    (checkpoint / "seal.json").write_text(json.dumps({**seal, "sha256": digest}))


def test_the_digest_of_every_leaf_is_compared(folder):
    """The files are as they were written, but they do not hold the state that was to be written."""
    leaves = len(json.loads((folder / "30" / "seal.json").read_text())["leaves"])
    assert leaves == len(jax.tree.leaves(make_state(1)))
    for index in range(leaves):
        original = (folder / "30" / "seal.json").read_text()
        reseal(folder / "30", lambda seal, index=index: seal["leaves"][index].update(sha256="0" * 64))
        state, (warning,) = restore(folder)
        assert same(state, make_state(20)) and "has another digest" in warning
        (folder / "30" / "seal.json").write_text(original)


def test_the_checkpoint_of_another_run_is_skipped(folder):
    reseal(folder / "30", lambda seal: seal.update(run="another"))
    state, (warning,) = restore(folder)
    assert same(state, make_state(20)) and "belongs to another run" in warning
    with pytest.raises(Failure, match=r"all checkpoints in .* belong to another run: put back those of this run"):
        restore(folder, run="a third")


def test_a_state_of_another_structure_is_refused(folder):
    with (
        pytest.raises(Failure, match="all checkpoints"),
        pytest.warns(UserWarning, match="not those of the run's state"),
    ):
        import warnings

        open_checkpoints(folder).restore(lambda _: jax.eval_shape(lambda: make_state(1, keep="last")), warnings.warn)


def read_files(folder):
    return {path: path.read_bytes() for path in list_files(folder)}


def test_if_all_checkpoints_are_damaged_they_are_left_as_they_are(folder):
    for step in (10, 20, 30):
        flip_bit(list_files(folder / str(step))[0], 3)
    before = read_files(folder)
    with pytest.raises(Failure, match=r"all checkpoints in .* are damaged: restore intact copies"):
        restore(folder)
    assert read_files(folder) == before


def test_damaged_checkpoints_are_removed_when_a_new_one_is_written(folder):
    flip_bit(list_files(folder / "30")[0], 3)
    checkpoints = open_checkpoints(folder)
    warnings = []
    assert same(checkpoints.restore(lambda _: ABSTRACT_STATE, warnings.append), make_state(20))
    assert checkpoint_steps(folder) == [10, 20, 30]  # kept as evidence until there is a better one
    checkpoints.save(25, make_state(25))
    checkpoints.wait()
    assert checkpoint_steps(folder) == [10, 20, 25]
    checkpoints.save(30, make_state(30))
    checkpoints.wait()
    assert checkpoint_steps(folder) == [20, 25, 30]
    assert same(restore(folder)[0], make_state(30))


def test_a_damaged_checkpoint_is_replaced_by_a_new_one_of_the_same_step(folder):
    flip_bit(list_files(folder / "30")[0], 3)
    checkpoints = open_checkpoints(folder)
    checkpoints.restore(lambda _: ABSTRACT_STATE, lambda line: None)
    checkpoints.save(30, make_state(30))
    checkpoints.wait()
    state, warnings = restore(folder)
    assert same(state, make_state(30)) and not warnings


def test_leftovers_of_a_killed_writer_are_removed(folder):
    for name in (".40.part", ".40.part.orbax-checkpoint-tmp-1", ".10.old"):
        shutil.copytree(folder / "20", folder / name)
    checkpoints = open_checkpoints(folder)
    assert same(checkpoints.restore(lambda _: ABSTRACT_STATE, fail_on_warning), make_state(30))
    checkpoints.save(40, make_state(40))
    checkpoints.wait()
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30", "40"]


def test_a_failed_write_is_reported_at_the_next_call_and_does_no_harm(folder):
    checkpoints = open_checkpoints(folder)
    checkpoints.restore(lambda _: ABSTRACT_STATE, fail_on_warning)
    state = make_state(40)

    class Unwritable:
        def save(self, *arguments, **options):
            raise OSError(28, "No space left on device")

    checkpoints._orbax = Unwritable()
    checkpoints.save(40, state)
    with pytest.raises(NotWritten, match=r"checkpoint of step 40 .*: No space left on device"):
        checkpoints.save(50, make_state(50))
    assert checkpoint_steps(folder) == [10, 20, 30]
    assert same(restore(folder)[0], make_state(30))


ORBAX = (
    'RESOURCE_EXHAUSTED: Error writing "2/0.0.0" in OCDBT database at local file "/a/ocdbt.process_0/": '
    "Failed writing: \"/a/d/5f\": Failed to write 149767 bytes to file 14: Disk quota exceeded [os_error_code='122']"
)


@pytest.mark.parametrize(
    ("error", "reason"), [(ValueError(ORBAX), "Disk quota exceeded"), (TypeError("\nwhy: x\ny"), "why: x")]
)
def test_the_reason_of_a_failed_write_is_short(tmp_path, error, reason):
    checkpoints = open_checkpoints(tmp_path / "checkpoints")

    class Unwritable:
        def save(self, *arguments, **options):
            raise error

    checkpoints._orbax = Unwritable()
    checkpoints.save(40, make_state(40))
    with pytest.raises(NotWritten, match=f": {reason}$"):
        checkpoints.wait()
