"""Checkpoints of a run's state: written by orbax in a thread of their own, whole or absent, and verified when read.

A checkpoint is the folder ``STEP/`` with orbax's files and ``seal.json``: the digests of every leaf of the state and of
every file, and the run that the checkpoint belongs to. It is written under a hidden name and renamed once it is whole.
Orbax itself checks the structure of what it reads but not the values: it does not notice a flipped bit.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from nstjax.errors import Failure, NotWritten
from nstjax.storage.run_folder import checkpoint_steps
from nstjax.system.files import open_atomic

T = TypeVar("T")

_SEAL = "seal.json"


class Damaged(Exception):
    """A checkpoint that is not what was written; the message says how."""


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
        self._orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler())
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
        steps = checkpoint_steps(self._folder)
        for step in reversed(steps):
            try:
                state = self._read(self._folder / str(step), template(step))
            except Damaged as error:
                warn(f"the checkpoint of step {step:,} is damaged ({error}) and is skipped")
                continue
            self._good = [earlier for earlier in steps if earlier <= step]
            return state
        if steps:
            raise Failure(f"all checkpoints in {self._folder} are damaged: restore intact copies, or start a new run")
        return None

    def save(self, step: int, state: Any) -> None:
        """Start writing a state; wait only if the previous one is not yet written.

        Raises:
            NotWritten: the previous state could not be written.
        """
        self.wait()
        # Copied, because the arrays are donated to the next step.
        arrays = {name: np.array(_get_array(leaf)) for name, leaf in _name_leaves(state).items()}
        self._pending = self._writer.submit(self._write, step, arrays)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            NotWritten: the last state could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def remove_leftovers(self) -> None:
        """Remove what an interrupted write or removal has left."""
        for path in self._folder.glob(".*"):
            if path.is_dir():  # hidden files belong to other programs, such as a file browser
                shutil.rmtree(path)

    def close(self) -> None:
        """Finish the write in progress and stop the background thread; errors are not reported."""
        self._writer.shutdown()

    def _write(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        final, partial = self._folder / str(step), self._folder / f".{step}.part"
        try:
            self._folder.mkdir(exist_ok=True)
            self.remove_leftovers()
            # Numbers instead of names, which contain brackets and quotes.
            numbered = {str(index): array for index, array in enumerate(arrays.values())}
            self._orbax.save(partial, args=ocp.args.StandardSave(numbered))
            leaves = [
                {"name": name, "shape": [*array.shape], "dtype": array.dtype.name, "sha256": _sha256(array.tobytes())}
                for name, array in arrays.items()
            ]
            seal = {"run": self._run, "step": step, "leaves": leaves, "files": _digest_files(partial)}
            with open_atomic(partial / _SEAL) as file:
                file.write(json.dumps({**seal, "sha256": _sha256(json.dumps(seal).encode())}).encode())
            self._discard(final)
            os.rename(partial, final)
        except Exception as error:
            with contextlib.suppress(OSError):
                self.remove_leftovers()
            reason = getattr(error, "strerror", None) or _first_line(str(error))
            raise NotWritten(f"cannot write the checkpoint of step {step:,} into {self._folder}: {reason}") from error
        self._good = [*self._good, step][-self._keep :]
        for other in checkpoint_steps(self._folder):
            if other not in self._good:
                self._discard(self._folder / str(other))

    def _discard(self, checkpoint: Path) -> None:
        """Remove a checkpoint if there is one; others never see half of it."""
        if checkpoint.exists():
            hidden = checkpoint.with_name(f".{checkpoint.name}.old")
            os.rename(checkpoint, hidden)
            shutil.rmtree(hidden)

    def _read(self, checkpoint: Path, template: T) -> T:
        seal = _read_seal(checkpoint)
        if seal["run"] != self._run:
            raise Damaged("it belongs to another run")
        named = _name_leaves(template)
        shapes = jax.eval_shape(lambda leaves: [_get_array(leaf) for leaf in leaves], [*named.values()])
        expected = [(name, [*leaf.shape], leaf.dtype.name) for name, leaf in zip(named, shapes, strict=True)]
        if [(leaf["name"], leaf["shape"], leaf["dtype"]) for leaf in seal["leaves"]] != expected:
            raise Damaged("its arrays are not those of the run's state")
        abstract = {str(i): np.empty(shape, dtype) for i, (_, shape, dtype) in enumerate(expected)}
        try:
            arrays = self._orbax.restore(checkpoint, args=ocp.args.StandardRestore(abstract))
        except Exception as error:
            raise Damaged(f"orbax cannot read it: {_first_line(str(error))}") from error
        for index, leaf in enumerate(seal["leaves"]):
            if _sha256(np.asarray(arrays[str(index)]).tobytes()) != leaf["sha256"]:
                raise Damaged(f"{leaf['name']} has another digest")
        leaves = [_device_put(arrays[str(index)], like=leaf) for index, leaf in enumerate(named.values())]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _read_seal(checkpoint: Path) -> dict[str, Any]:
    """Return the content of a seal whose digest, and those of all files, are right."""
    try:
        seal = json.loads((checkpoint / _SEAL).read_bytes())
        digest = seal.pop("sha256")
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        raise Damaged(f"it has no readable {_SEAL}") from None
    if digest != _sha256(json.dumps(seal).encode()):
        raise Damaged(f"its {_SEAL} was changed")
    digests = _digest_files(checkpoint)
    del digests[_SEAL]
    for name in sorted({*seal["files"], *digests}):
        if name not in digests:
            raise Damaged(f"the file {name} is missing")
        if seal["files"].get(name) != digests[name]:
            raise Damaged(f"the file {name} is not as it was written")
    return seal


def _digest_files(checkpoint: Path) -> dict[str, str]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    return {path.relative_to(checkpoint).as_posix(): _sha256(path.read_bytes()) for path in files}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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


def _first_line(message: str) -> str:
    """Return the first line of a library's error."""
    return next((line.strip() for line in message.splitlines() if line.strip()), "unknown")
