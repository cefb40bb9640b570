"""Checkpoints of a run's state: written by orbax in the background, each whole or absent, and checked when read.

A checkpoint is the folder ``STEP/`` with orbax's files and ``seal.json``: the digest of every leaf of the state and of
every file, and the run it belongs to. It is written under a hidden name and renamed once it is whole; orbax itself
checks the structure of what it reads but not the values, and lets a flipped bit through.
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
from nstjax.system.files import whole_file

T = TypeVar("T")

_SEAL = "seal.json"


class Damaged(Exception):
    """A checkpoint is not what was written; says how."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; it is made with the first of them.
        run: a checksum of the run that the states belong to.
        keep: how many of them to keep, the newest; at least 2, since the newest may be damaged.
    """

    def __init__(self, folder: Path, *, run: str, keep: int):
        self._folder = folder.absolute()  # orbax takes no other
        self._run = run
        self._keep = keep
        self._good: list[int] = []
        self._orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler())
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: concurrent.futures.Future[None] | None = None

    def restore(self, template: Callable[[int], T], warn: Callable[[str], object]) -> T | None:
        """The state of the newest whole checkpoint.

        Args:
            template: step -> a state of the form that it has after so many: arrays or their shapes.
            warn: told of each damaged checkpoint that is passed over.

        Returns:
            The state; None where there is no checkpoint at all.

        Raises:
            Failure: there are checkpoints, and all of them are damaged.
        """
        found = checkpoint_steps(self._folder)
        for step in reversed(found):
            try:
                state = self._read(self._folder / str(step), template(step))
            except Damaged as error:
                warn(f"the checkpoint of step {step:,} is damaged ({error}): it is passed over")
                continue
            self._good = [it for it in found if it <= step]
            return state
        if found:
            raise Failure(f"all checkpoints in {self._folder} are damaged: put whole ones there, or begin a new run")
        return None

    def save(self, step: int, state: Any) -> None:
        """Begin to write a state; waits only where the one before it is not yet written.

        Raises:
            NotWritten: the one before it could not be written.
        """
        self.wait()
        # Copied: the arrays are given away to the next step.
        arrays = {name: np.array(_data(leaf)) for name, leaf in _named(state).items()}
        self._pending = self._writer.submit(self._write, step, arrays)

    def wait(self) -> None:
        """Return once everything is written.

        Raises:
            NotWritten: it could not be.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def sweep(self) -> None:
        """Remove what a write or a removal that was cut short has left."""
        for path in self._folder.glob(".*"):
            if path.is_dir():  # others' hidden files, such as a file browser's, are none of ours
                shutil.rmtree(path)

    def close(self) -> None:
        """End the background's work: what is being written is finished, and nobody is told if it cannot be."""
        self._writer.shutdown()

    def _write(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        final, growing = self._folder / str(step), self._folder / f".{step}.part"
        try:
            self._folder.mkdir(exist_ok=True)
            self.sweep()
            # Numbers in place of names, which have brackets and quotes in them.
            numbered = {str(index): array for index, array in enumerate(arrays.values())}
            self._orbax.save(growing, args=ocp.args.StandardSave(numbered))
            leaves = [
                {"name": name, "shape": [*it.shape], "dtype": it.dtype.name, "sha256": _sha256(it.tobytes())}
                for name, it in arrays.items()
            ]
            seal = {"run": self._run, "step": step, "leaves": leaves, "files": _digests(growing)}
            with whole_file(growing / _SEAL) as file:
                file.write(json.dumps({**seal, "sha256": _sha256(json.dumps(seal).encode())}).encode())
            self._discard(final)
            os.rename(growing, final)
        except Exception as error:
            with contextlib.suppress(OSError):
                self.sweep()
            reason = getattr(error, "strerror", None) or _reason(str(error))
            raise NotWritten(f"cannot write the checkpoint of step {step:,} into {self._folder}: {reason}") from error
        self._good = [*self._good, step][-self._keep :]
        for other in checkpoint_steps(self._folder):
            if other not in self._good:
                self._discard(self._folder / str(other))

    def _discard(self, checkpoint: Path) -> None:
        """Remove a checkpoint, if it is there; never half of it, as others see it."""
        if checkpoint.exists():
            hidden = checkpoint.with_name(f".{checkpoint.name}.old")
            os.rename(checkpoint, hidden)
            shutil.rmtree(hidden)

    def _read(self, checkpoint: Path, template: T) -> T:
        seal = _checked_seal(checkpoint)
        if seal["run"] != self._run:
            raise Damaged("it belongs to another run")
        named = _named(template)
        shapes = jax.eval_shape(lambda leaves: [_data(leaf) for leaf in leaves], [*named.values()])
        expected = [(name, [*it.shape], it.dtype.name) for name, it in zip(named, shapes, strict=True)]
        if [(it["name"], it["shape"], it["dtype"]) for it in seal["leaves"]] != expected:
            raise Damaged("its arrays are not those of the run's state")
        abstract = {str(i): np.empty(shape, dtype) for i, (_, shape, dtype) in enumerate(expected)}
        try:
            arrays = self._orbax.restore(checkpoint, args=ocp.args.StandardRestore(abstract))
        except Exception as error:
            raise Damaged(f"orbax cannot read it: {_reason(str(error))}") from error
        for index, it in enumerate(seal["leaves"]):
            if _sha256(np.asarray(arrays[str(index)]).tobytes()) != it["sha256"]:
                raise Damaged(f"{it['name']} has another digest")
        leaves = [_like(leaf, arrays[str(index)]) for index, leaf in enumerate(named.values())]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _checked_seal(checkpoint: Path) -> dict[str, Any]:
    try:
        seal = json.loads((checkpoint / _SEAL).read_bytes())
        digest = seal.pop("sha256")
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        raise Damaged(f"it has no readable {_SEAL}") from None
    if digest != _sha256(json.dumps(seal).encode()):
        raise Damaged(f"its {_SEAL} was changed")
    found = _digests(checkpoint)
    del found[_SEAL]
    for name in sorted({*seal["files"], *found}):
        if name not in found:
            raise Damaged(f"the file {name} is missing")
        if seal["files"].get(name) != found[name]:
            raise Damaged(f"the file {name} is not as it was written")
    return seal


def _digests(checkpoint: Path) -> dict[str, str]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    return {path.relative_to(checkpoint).as_posix(): _sha256(path.read_bytes()) for path in files}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _named(state: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    """The numbers of a leaf; those of a random key, too."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(leaf: Any, array: np.ndarray) -> jax.Array:
    """An array on the device, as the leaf of the template is; copied, since it will be given away."""
    data = jnp.array(array)
    return jax.random.wrap_key_data(data) if _is_key(leaf) else data


def _reason(message: str) -> str:
    """Of the many lines of a library's error, the first."""
    return next((line.strip() for line in message.splitlines() if line.strip()), "unknown")
