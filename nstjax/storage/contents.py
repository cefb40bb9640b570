"""The files that runs write, and how they are told from all other files in the same folders.

Folders of runs are the users': they copy files in them, look at them with file browsers, and lay them on other disks by
links. Only files with the names below are counted, replaced or removed.
"""

import os
import re
from pathlib import Path

SEAL = "seal.json"
"""Name of the file in a checkpoint that says what is in it."""

_MANIFEST = "manifest.ocdbt"

_CHECKPOINT_FILE = re.compile(
    rf"{re.escape(SEAL)}|{re.escape(_MANIFEST)}|d|ocdbt\.process_[0-9]+|_METADATA|_CHECKPOINT_METADATA|_sharding"
    r"|array_metadatas|commit_success\.txt"
)

_INPUT = re.compile(
    r"((content|style(-[0-9]+)?)(@[0-9]+)?|start|init|alpha|colours|regions|style(-[0-9]+)?(-regions|-alpha))\.npy"
    r"|sources\.json|weights\.safetensors|experiment\.py|modules"
)


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, in order, damaged ones included."""
    names = os.listdir(folder) if folder.is_dir() else []
    steps = (int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name))
    # A checkpoint that has lost its seal is a damaged one; a folder that has neither was never one.
    return sorted(step for step in steps if any((folder / str(step) / name).exists() for name in (SEAL, _MANIFEST)))


def is_checkpoint_file(name: str) -> bool:
    """Return True if a checkpoint's folder has a file or a folder of this name."""
    return _CHECKPOINT_FILE.fullmatch(name) is not None


def is_partial_checkpoint(name: str) -> bool:
    """Return True if a checkpoint has this name while it is written."""
    return re.fullmatch(r"\.[0-9]+\.part(\.orbax-checkpoint-tmp.*)?", name) is not None


def is_old_checkpoint(name: str) -> bool:
    """Return True if a checkpoint has this name while it is removed."""
    return re.fullmatch(r"\.[0-9]+\.old", name) is not None


def name_snapshot(step: int) -> str:
    """Return the file name of the picture after the given step."""
    return f"{step:06d}.png"


def list_snapshots(folder: Path) -> dict[int, Path]:
    """Return {step: file} of the snapshots in a folder, in order."""
    names = os.listdir(folder) if folder.is_dir() else []
    steps = sorted(int(name[:-4]) for name in names if re.fullmatch(r"[0-9]{6,}\.png", name))
    return {step: folder / name_snapshot(step) for step in steps if name_snapshot(step) in names}


def is_input(name: str) -> bool:
    """Return True if a run's folder ``inputs/`` has a file of this name."""
    return _INPUT.fullmatch(name) is not None
