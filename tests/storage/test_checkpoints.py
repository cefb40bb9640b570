"""States on the disk: given back to the bit, or said to be damaged."""

import hashlib
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nstjax import optimise, optimisers
from nstjax.errors import Failure, NotWritten
from nstjax.objective import Objective
from nstjax.optimise import Method, State
from nstjax.parameterisation import Fourier
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.run_folder import checkpoint_steps
from nstjax.types import PictureTerm

RUN = "a run's checksum"


def state_at(step, *, keep="best", parameterisation=None):
    """A state whose every number depends on the step."""
    method = Method(
        Objective((PictureTerm("mean", jnp.mean),)), optimisers.adam(), parameterisation or optimise.PIXELS, keep=keep
    )
    picture = np.random.default_rng(step).random((6, 5, 3), np.float32)
    state = optimise.init(method, jnp.asarray(picture), learning_rate=0.1 * step, key=jax.random.key(step))
    return State(**{**vars(state), "step": jnp.int32(step), "lowest": jnp.float32(1 / step)})


def same(a, b):
    def numbers(state):
        return [
            np.asarray(it) for it in jax.tree.leaves(State(**{**vars(state), "key": jax.random.key_data(state.key)}))
        ]

    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(numbers(a), numbers(b), strict=True)
    )


FORM = jax.eval_shape(lambda: state_at(1))


def checkpoints(folder, **options):
    return Checkpoints(folder, **{"run": RUN, "keep": 3, **options})


def silent(line):
    raise AssertionError(line)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the checkpoints of steps 10, 20 and 30."""
    folder = tmp_path_factory.mktemp("written") / "checkpoints"
    it = checkpoints(folder)
    for step in (10, 20, 30):
        it.save(step, state_at(step))
    it.wait()
    it.close()
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def restored(folder, **options):
    """(state, warnings)"""
    warnings = []
    return checkpoints(folder, **options).restore(lambda _: FORM, warnings.append), warnings


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("parameterisation", [None, Fourier(6, 5)])
def test_a_state_comes_back_to_the_bit(tmp_path, keep, parameterisation):
    state = state_at(7, keep=keep, parameterisation=parameterisation)
    it = checkpoints(tmp_path / "checkpoints")
    it.save(7, state)
    it.wait()
    form = jax.eval_shape(lambda: state_at(1, keep=keep, parameterisation=parameterisation))
    back = checkpoints(tmp_path / "checkpoints").restore(lambda _: form, silent)
    assert same(back, state)
    assert jax.random.uniform(back.key) == jax.random.uniform(state.key)


def test_no_checkpoint_is_none(tmp_path):
    assert restored(tmp_path / "nowhere") == (None, [])
    assert not (tmp_path / "nowhere").exists()


def test_the_newest_are_kept(written):
    assert checkpoint_steps(written) == [10, 20, 30]
    assert {path.name for path in written.iterdir()} == {"10", "20", "30"}


def test_what_is_saved_may_be_given_away_at_once(tmp_path):
    """The state is donated to the next chunk while the writer is still at work."""
    it = checkpoints(tmp_path / "checkpoints")
    state = state_at(5)
    it.save(5, state)
    jax.tree.map(lambda leaf: leaf.delete(), state)
    it.wait()
    back, _ = restored(tmp_path / "checkpoints")
    assert same(back, state_at(5))


def files(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_any_flipped_bit_is_noticed(folder):
    """In every file: its first and last bit, and some between; the one before is used, with one warning."""
    generator = np.random.default_rng(0)
    tried = 0
    for path in files(folder / "30"):
        bits = 8 * path.stat().st_size
        for bit in {0, bits - 1, *generator.integers(bits, size=3).tolist()}:
            flip(path, bit)
            state, warnings = restored(folder)
            assert same(state, state_at(20)), path
            assert len(warnings) == 1 and "step 30 is damaged" in warnings[0]
            flip(path, bit)
            tried += 1
    assert tried > 30
    state, warnings = restored(folder)
    assert same(state, state_at(30)) and not warnings


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "swapped": lambda path: path.write_bytes(b"[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damaged_file_is_noticed(folder, damage):
    for path in files(folder / "30"):
        content = path.read_bytes()
        DAMAGES[damage](path)
        state, warnings = restored(folder)
        assert same(state, state_at(20)), path
        assert len(warnings) == 1 and "step 30 is damaged" in warnings[0]
        path.write_bytes(content)


def test_an_emptied_checkpoint_and_one_with_more_in_it(folder):
    (folder / "30" / "more").write_text("")
    state, (warning,) = restored(folder)
    assert same(state, state_at(20)) and "more is not as it was written" in warning
    shutil.rmtree(folder / "30")
    (folder / "30").mkdir()
    state, (warning,) = restored(folder)
    assert same(state, state_at(20)) and "no readable seal.json" in warning


def reseal(checkpoint, change):
    seal = json.loads((checkpoint / "seal.json").read_text())
    del seal["sha256"]
    change(seal)
    digest = hashlib.sha256(json.dumps(seal).encode()).hexdigest()
    (checkpoint / "seal.json").write_text(json.dumps({**seal, "sha256": digest}))


def test_the_digest_of_every_leaf_is_compared(folder):
    """Files that are as they were written, but do not give back what was to be written."""
    leaves = len(json.loads((folder / "30" / "seal.json").read_text())["leaves"])
    assert leaves == len(jax.tree.leaves(state_at(1)))
    for index in range(leaves):
        kept = (folder / "30" / "seal.json").read_text()
        reseal(folder / "30", lambda seal, index=index: seal["leaves"][index].update(sha256="0" * 64))
        state, (warning,) = restored(folder)
        assert same(state, state_at(20)) and "has another digest" in warning
        (folder / "30" / "seal.json").write_text(kept)


def test_the_checkpoint_of_another_run_is_not_taken(folder):
    reseal(folder / "30", lambda seal: seal.update(run="another"))
    state, (warning,) = restored(folder)
    assert same(state, state_at(20)) and "belongs to another run" in warning
    with pytest.raises(Failure, match=r"all checkpoints in .* are damaged"):
        restored(folder, run="a third")


def test_a_state_of_another_form_is_not_taken(folder):
    with (
        pytest.raises(Failure, match="all checkpoints"),
        pytest.warns(UserWarning, match="not those of the run's state"),
    ):
        import warnings

        checkpoints(folder).restore(lambda _: jax.eval_shape(lambda: state_at(1, keep="last")), warnings.warn)


def snapshot_of(folder):
    return {path: path.read_bytes() for path in files(folder)}


def test_if_all_are_damaged_nothing_is_touched(folder):
    for step in (10, 20, 30):
        flip(files(folder / str(step))[0], 3)
    before = snapshot_of(folder)
    with pytest.raises(Failure, match=r"all checkpoints in .* are damaged: put whole ones there"):
        restored(folder)
    assert snapshot_of(folder) == before


def test_damaged_ones_go_when_a_new_one_is_written(folder):
    flip(files(folder / "30")[0], 3)
    it = checkpoints(folder)
    warnings = []
    assert same(it.restore(lambda _: FORM, warnings.append), state_at(20))
    assert checkpoint_steps(folder) == [10, 20, 30]  # as evidence, until there is a better one
    it.save(25, state_at(25))
    it.wait()
    assert checkpoint_steps(folder) == [10, 20, 25]
    it.save(30, state_at(30))
    it.wait()
    assert checkpoint_steps(folder) == [20, 25, 30]
    assert same(restored(folder)[0], state_at(30))


def test_a_damaged_one_is_replaced_by_one_of_the_same_step(folder):
    flip(files(folder / "30")[0], 3)
    it = checkpoints(folder)
    it.restore(lambda _: FORM, lambda line: None)
    it.save(30, state_at(30))
    it.wait()
    state, warnings = restored(folder)
    assert same(state, state_at(30)) and not warnings


def test_leftovers_of_a_killed_writer_are_no_checkpoints_and_go(folder):
    for name in (".40.part", ".40.part.orbax-checkpoint-tmp-1", ".10.old"):
        shutil.copytree(folder / "20", folder / name)
    it = checkpoints(folder)
    assert same(it.restore(lambda _: FORM, silent), state_at(30))
    it.save(40, state_at(40))
    it.wait()
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30", "40"]


def test_a_failed_write_is_said_at_the_next_call_and_harms_nothing(folder):
    it = checkpoints(folder)
    it.restore(lambda _: FORM, silent)
    state = state_at(40)

    class Unwritable:
        def save(self, *arguments, **options):
            raise OSError(28, "No space left on device")

    it._orbax = Unwritable()
    it.save(40, state)
    with pytest.raises(NotWritten, match=r"checkpoint of step 40 .*: No space left on device"):
        it.save(50, state_at(50))
    assert checkpoint_steps(folder) == [10, 20, 30]
    assert same(restored(folder)[0], state_at(30))
