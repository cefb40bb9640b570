"""The seals of checkpoints: the digests of every array and of every file, and the run that a checkpoint belongs to."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from nstjax.storage.contents import SEAL
from nstjax.system.files import write_whole
from nstjax.system.plain_data import parse_json


class Damaged(Exception):
    """A checkpoint that is not what was written; the message says how."""


class _Leaf(TypedDict):
    """A leaf of the state."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


class _Seal(TypedDict):
    """The content of a seal."""

    run: str
    step: int
    leaves: tuple[_Leaf, ...]
    files: dict[str, str]
    sha256: str


def write_seal(checkpoint: Path, *, run: str, step: int, leaves: Sequence[dict[str, Any]]) -> None:
    """Write the seal of a checkpoint whose other files are complete.

    Args:
        checkpoint: folder of the checkpoint.
        run: checksum of the run that the state belongs to.
        step: its step.
        leaves: name, shape, dtype and digest of each leaf of the state.
    """
    seal = {"run": run, "step": step, "leaves": leaves, "files": _digest_files(checkpoint)}
    write_whole(checkpoint / SEAL, json.dumps({**seal, "sha256": _digest(json.dumps(seal).encode())}).encode())


def parse_seal(checkpoint: Path) -> dict[str, Any]:
    """Return the content of a seal, without any comparison.

    Raises:
        OSError: there is none.
        ValueError: the file is not a seal.
    """
    return parse_json((checkpoint / SEAL).read_bytes(), _Seal)


def read_seal(checkpoint: Path) -> dict[str, Any]:
    """Return the content of a seal whose digest, and those of all its files, are right; other files do not matter.

    Raises:
        Damaged: they are not.
    """
    try:
        seal = parse_seal(checkpoint)
        is_whole = seal.pop("sha256") == _digest(json.dumps(seal).encode())
    except (OSError, ValueError, RecursionError):
        raise Damaged(f"it has no readable {SEAL}") from None
    if not is_whole:
        raise Damaged(f"its {SEAL} was changed")
    for name, expected in seal["files"].items():
        try:
            is_whole = _digest_file(checkpoint / name) == expected
        except FileNotFoundError:
            raise Damaged(f"the file {name} is missing") from None
        except OSError as error:
            raise Damaged(f"the file {name} cannot be read: {error.strerror}") from None
        if not is_whole:
            raise Damaged(f"the file {name} is not as it was written")
    return seal


def _digest_files(checkpoint: Path) -> dict[str, str]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    return {path.relative_to(checkpoint).as_posix(): _digest_file(path) for path in files}


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_array(array: np.ndarray) -> str:
    """Return the digest of an array's values."""
    # As bytes, since a view of numbers is none of bfloat16.
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
