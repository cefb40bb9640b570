"""Checkpoints of a run's state: written by orbax in a thread of their own, whole or absent, and verified when read.

A checkpoint is the folder ``STEP/`` with orbax's files and ``seal.json``: the digests of every leaf of the state and of
every file, and the run that the checkpoint belongs to. It is written under a hidden name and renamed once it is whole.
Orbax itself checks the structure of what it reads but not the values: it does not notice a flipped bit. Nor does it
notice that it cannot read what it writes, so the first checkpoint that a process writes is read back.
"""

import concurrent.futures
import contextlib
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from nstjax.errors import Failure, NotWritten
from nstjax.storage.contents import checkpoint_steps, is_checkpoint_file, is_old_checkpoint, is_partial_checkpoint
from nstjax.storage.seals import Damaged, digest_array, parse_seal, read_seal, write_seal
from nstjax.system.files import is_of_the_system, plain_path

T = TypeVar("T")

# A failure of orbax is one exception, and pages from its threads: those log tracebacks, and call back a closed loop.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
_show_unraisable = sys.unraisablehook


def _show_unraisable_of_others(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        _show_unraisable(unraisable)


sys.unraisablehook = _show_unraisable_of_others

_FOREIGN = "it belongs to another run"


_LARGE = 2**28
"""Bytes from which a state is large: its steps take many seconds, and to write it takes few."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: folder of all checkpoints; created with the first of them.
        run: checksum of the run that the states belong to.
        keep: number of newest checkpoints to keep; at least 2, because the newest may be damaged.
    """

    def __init__(self, folder: Path, *, run: str, keep: int):
        self._folder = folder.absolute()  # orbax requires an absolute path
        self._run = run
        self._keep = keep
        self._good: list[int] = []
        self._is_proven = False
        # No other process of a cluster has a hand in it.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix=f"process-{jax.process_index()}",
        )
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        self._orbax = ocp.Checkpointer(handler, multiprocessing_options=alone)
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: concurrent.futures.Future[None] | None = None

    def restore(self, template: Callable[[int], T], warn: Callable[[str], object]) -> T | None:
        """Return the state of the newest whole checkpoint.

        Args:
            template: step -> a state of the structure that it has at that step: arrays or their shapes.
            warn: called with a line for each damaged checkpoint that is skipped.

        Returns:
            The state; None if there is no checkpoint at all.

        Raises:
            Failure: there are checkpoints, and all of them are damaged.
        """
        steps, faults = checkpoint_steps(self._folder), set()
        for step in reversed(steps):
            try:
                state = self._read(self._folder / str(step), template(step))
            except Damaged as error:
                warn(f"the checkpoint of step {step:,} is damaged ({error}) and is skipped")
                faults.add(str(error))
                continue
            self._good = [earlier for earlier in steps if earlier <= step]
            return state
        if faults == {_FOREIGN}:
            raise Failure(
                f"all checkpoints in {self._folder} belong to another run: put back those of this run, or remove them "
                "to start again at step 0"
            )
        if steps:
            raise Failure(f"all checkpoints in {self._folder} are damaged: restore intact copies, or start a new run")
        return None

    def save(self, step: int, state: Any) -> None:
        """Start writing a state; wait only if the previous one is not yet written, or if the state is large.

        Raises:
            NotWritten: the previous state could not be written.
        """
        self.wait()
        leaves = {name: _get_array(leaf) for name, leaf in _name_leaves(state).items()}
        is_large = sum(leaf.nbytes for leaf in leaves.values()) > _LARGE
        # Copied, because the arrays are donated to the next step; the copy of a large state takes too much memory.
        copy = np.asarray if is_large else np.array
        self._pending = self._writer.submit(self._write, step, {name: copy(leaf) for name, leaf in leaves.items()})
        if is_large:
            concurrent.futures.wait([self._pending])

    @property
    def is_writing(self) -> bool:
        """True while a state is being written."""
        return self._pending is not None and not self._pending.done()

    def wait(self) -> bool:
        """Wait until everything is written.

        Returns:
            True if a state was written since the last call.

        Raises:
            NotWritten: the last state could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        return pending is not None

    def remove_leftovers(self) -> None:
        """Remove what an interrupted write or removal has left."""
        for name in os.listdir(self._folder) if self._folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if is_partial_checkpoint(name):
                    shutil.rmtree(self._folder / name)
                elif is_old_checkpoint(name):
                    self._clear(self._folder / name)

    def remove_all(self) -> None:
        """Remove every checkpoint."""
        self.remove_leftovers()
        self._remove_except(())
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def close(self) -> None:
        """Finish the write in progress and stop the background thread; errors are not reported."""
        self._writer.shutdown()

    def _write(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        final, partial = self._folder / str(step), self._folder / f".{step}.part"
        leaves = [
            {"name": name, "shape": [*array.shape], "dtype": array.dtype.name, "sha256": digest_array(array)}
            for name, array in arrays.items()
        ]
        try:
            self._folder.mkdir(exist_ok=True)
            self.remove_leftovers()
            # Numbers instead of names, which contain brackets and quotes.
            numbered = {str(index): array for index, array in enumerate(arrays.values())}
            with plain_path(self._folder) as folder:
                self._orbax.save(folder / partial.name, args=ocp.args.StandardSave(numbered))
            numbered.clear()
            arrays.clear()  # frees their memory before they are read back
            if not self._is_proven:
                self._read_arrays(partial, leaves)
            write_seal(partial, run=self._run, step=step, leaves=leaves)
            self._put_in_place(partial, final)
        except Damaged as error:
            reason = f"it cannot be read back ({error})"
        except Exception as error:
            reason = _describe(error)
        else:
            self._is_proven = True
            self._good = [*self._good, step][-self._keep :]
            self._remove_except(self._good)
            return
        self.remove_leftovers()
        raise NotWritten(f"cannot write the checkpoint of step {step:,} into {self._folder}: {reason}")

    def _remove_except(self, kept: Sequence[int]) -> None:
        """Remove the run's other checkpoints; one that cannot be removed now is removed with the next."""
        for step in checkpoint_steps(self._folder):
            checkpoint = self._folder / str(step)
            if step not in kept and not self._is_of_another_run(checkpoint):
                hidden = checkpoint.with_name(f".{step}.old")  # renamed, so that others never see half of it
                with contextlib.suppress(OSError):
                    os.rename(checkpoint, hidden)
                    self._clear(hidden)

    def _put_in_place(self, partial: Path, final: Path) -> None:
        """Give a whole checkpoint its name; a former one of the same step is replaced."""
        if not os.path.lexists(final):
            os.rename(partial, final)
            return
        if final.is_symlink() or not final.is_dir() or self._is_of_another_run(final):
            raise FileExistsError(f"{final} is not of this run: move it away")
        os.rename(final, final.with_name(f".{final.name}.old"))
        os.rename(partial, final)
        self.remove_leftovers()

    def _clear(self, hidden: Path) -> None:
        """Remove a checkpoint that has its hidden name; the files of others in it get its former name again."""
        if hidden.is_symlink():
            hidden.unlink()
            return
        former = hidden.with_name(hidden.name.removeprefix(".").removesuffix(".old"))
        for path in hidden.iterdir():
            if path.is_dir() and not path.is_symlink() and is_checkpoint_file(path.name):
                shutil.rmtree(path)
            elif not path.is_dir() and (is_checkpoint_file(path.name) or is_of_the_system(path.name)):
                path.unlink()
            else:
                former.mkdir(exist_ok=True)
                os.rename(path, former / path.name)
        hidden.rmdir()

    def _is_of_another_run(self, checkpoint: Path) -> bool:
        try:
            return parse_seal(checkpoint)["run"] != self._run
        except (OSError, ValueError):
            return False

    def _read(self, checkpoint: Path, template: T) -> T:
        seal = read_seal(checkpoint)
        if seal["run"] != self._run:
            raise Damaged(_FOREIGN)
        named = _name_leaves(template)
        shapes = jax.eval_shape(lambda leaves: [_get_array(leaf) for leaf in leaves], [*named.values()])
        expected = [(name, [*leaf.shape], leaf.dtype.name) for name, leaf in zip(named, shapes, strict=True)]
        if [(leaf["name"], leaf["shape"], leaf["dtype"]) for leaf in seal["leaves"]] != expected:
            raise Damaged("its arrays are not those of the run's state")
        arrays = self._read_arrays(checkpoint, seal["leaves"])
        leaves = [_device_put(array, like=leaf) for array, leaf in zip(arrays, named.values(), strict=True)]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)

    def _read_arrays(self, checkpoint: Path, leaves: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
        """Return the arrays of the leaves that a seal describes; raise ``Damaged`` if one differs."""
        abstract = {str(index): np.empty(leaf["shape"], leaf["dtype"]) for index, leaf in enumerate(leaves)}
        try:
            with plain_path(checkpoint) as path:
                numbered = self._orbax.restore(path, args=ocp.args.StandardRestore(abstract))
        except Exception as error:
            raise Damaged(f"orbax cannot read it: {_describe(error)}") from error
        arrays = [np.asarray(numbered[name]) for name in abstract]
        for array, leaf in zip(arrays, leaves, strict=True):
            if digest_array(array) != leaf["sha256"]:
                raise Damaged(f"{leaf['name']} has another digest")
        return arrays


def _name_leaves(state: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _get_array(leaf: Any) -> Any:
    """Return the numbers of a leaf, also of a random key."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _device_put(array: np.ndarray, *, like: Any) -> jax.Array:
    """Put an array on the device, as a random key if ``like`` is one; copied, because it will be donated."""
    data = jnp.array(array)
    return jax.random.wrap_key_data(data) if _is_key(like) else data


def _describe(error: Exception) -> str:
    """Return the reason of an error in a few words."""
    if reason := getattr(error, "strerror", None):
        return reason
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
    # tensorstore's errors are a status, all places that it came through, the system's reason, and details in brackets.
    if re.match("[A-Z_]+: ", line):
        line = re.split(r" \[\w+=", line)[0].rsplit(": ", 1)[-1]
    return textwrap.shorten(line, 200)
