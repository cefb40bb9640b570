"""The content of a killed run: whether its files are whole, and the results that every run of its kind must share."""

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nstjax.callbacks import TIMES

_NAMES = {
    "progress.json": None,  # the progress a few seconds ago
    "metrics.jsonl": "metrics",
    "output.png": "output.png",
    r"snapshots/\d+\.png": "snapshots",
    r"sheet\.png|curves\.svg": "sheet.png, curves.svg",
    r"grid\.png|table\.csv": "grid.png, table.csv",
    r"report\.html": "report.html, without times",
    r"checkpoints/\d+/seal\.json": "states of the checkpoints",
    r"checkpoints/.*": None,  # orbax's own files hold times
    r"[^/]*\.json|inputs/.*": "records, inputs",
}
"""The first pattern that the end of a path matches says what the file is; None for one that may differ."""


def list_visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are not hidden, nor in a hidden folder."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def list_leftovers(folder: Path) -> list[Path]:
    """Return the hidden files and folders other than locks."""
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


def check_visible_files(folder: Path) -> None:
    """Raise if a visible file of the folder is not whole."""
    for path in list_visible_files(folder):
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npy":
            np.load(path)
        elif path.suffix in (".html", ".svg"):
            assert path.read_text().rstrip().endswith(("</html>", "</svg>")), path
        elif path.suffix == ".csv":
            assert path.read_text().endswith("\n"), path
        elif path.suffix == ".jsonl":
            for line in path.read_text().split("\n")[:-1]:
                json.loads(line)
    for checkpoint in _list_checkpoints(folder):
        for name, digest in json.loads((checkpoint / "seal.json").read_text())["files"].items():
            assert hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() == digest, checkpoint / name


def _list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run or a sweep; half-written ones, which may vanish meanwhile, are not entered."""
    parents = [folder / "checkpoints", *folder.glob("groups/*/checkpoints")]
    return [checkpoint for parent in parents for checkpoint in parent.glob("[0-9]*")]


def count_steps(folder: Path) -> int:
    """Return the step of the newest checkpoint; of a sweep, the sum over its groups."""
    newest: dict[Path, int] = defaultdict(int)
    for checkpoint in _list_checkpoints(folder):
        newest[checkpoint.parent] = max(newest[checkpoint.parent], int(checkpoint.name))
    return sum(newest.values())


def collect_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return {name: {path: content}} of the results that must be the same in every run of one kind."""
    results: dict[str, dict[str, Any]] = defaultdict(dict)
    for path in list_visible_files(folder):
        relative = path.relative_to(folder).as_posix()
        pattern = next(pattern for pattern in _NAMES if re.search(f"(^|/)({pattern})$", relative))
        if name := _NAMES[pattern]:
            results[name][relative] = _read(path)
    return results


def _read(path: Path) -> Any:
    """Return the content of a file without times."""
    if path.name == "seal.json":
        return json.loads(path.read_text())["leaves"]
    if path.name == "metrics.jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{name: value for name, value in line.items() if name not in TIMES[1:]} for line in lines]
    if path.name == "report.html":
        return re.sub(r"<dt>(time|speed)</dt><dd>.*?</dd>", "", path.read_text())
    return path.read_bytes()
