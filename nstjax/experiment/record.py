"""The record of a run, the content of ``config.json``: resolved settings and what the run was made with.

A record is plain data with a checksum. A resumed run follows it, so a record that was edited, or that another version
wrote in another format, is refused.
"""

import copy
import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any, NotRequired, TypeAlias, TypedDict

from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.system.files import write_whole
from nstjax.system.plain_data import convert, parse_json

RunRecord: TypeAlias = dict[str, Any]

SCHEMA = 7
"""Version of the record's format. A record of another one is refused: the nstjax that wrote it resumes its run."""


class _Seal(TypedDict):
    """Entries of every sealed file."""

    schema: int
    sha256: str


class _Experiment(TypedDict):
    """The experiment, and the checksums of its file and of its modules."""

    name: str
    version: int | float | str
    sha256: str | None
    modules: dict[str, str]


class _Array(TypedDict):
    """An array in the folder ``inputs``."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


class _Names(TypedDict):
    """The readable names of the pictures; every other entry is an ``_Array``."""

    names: tuple[str, ...]


class _Weights(TypedDict):
    """The weights of the network."""

    network: str
    flavour: str
    source: str
    reason: str
    sha256: str
    deepest: str


class _Device(TypedDict):
    """The device that the run began on."""

    kind: str


class Pointer(TypedDict):
    """The place of a sweep's member in the state of its group.

    Args:
        group: path of the group's folder, relative to the member's.
        index: index in the stacked state.
        size: number of stacked states.
        devices: number of devices that they are spread over.
        identity: checksum of the group.
    """

    group: str
    index: int
    size: int
    devices: int
    identity: str


class _Member(TypedDict):
    """The entry that the record of a sweep's member has, and that of a single run has not."""

    sweep: Pointer


class _Record(_Seal):
    """The content of ``config.json``."""

    experiment: _Experiment
    config: dict[str, Any]
    pictures: _Names
    weights: _Weights
    device: _Device
    versions: dict[str, str]
    sweep: NotRequired[Pointer]
    taken_out: NotRequired[Pointer]


def seal(record: RunRecord, *, schema: int = SCHEMA) -> RunRecord:
    """Return the record with the schema and its checksum."""
    content = {"schema": schema, **{name: part for name, part in record.items() if name not in ("schema", "sha256")}}
    return {**content, "sha256": digest(content)}


def write_sealed(path: Path, record: RunRecord) -> None:
    """Write a sealed record."""
    write_whole(path, json.dumps(record, indent=2).encode() + b"\n")


def read_sealed(path: Path, kind: Any, *, schema: int, owner: str) -> Any:
    """Return the content of a file that ``write_sealed`` wrote.

    Args:
        path: the file.
        kind: the type of the content; see ``plain_data.convert``.
        schema: version of the format that the reader follows.
        owner: what the file is the record of, such as "run".

    Raises:
        UserError: the file is no such record, has another schema, or was changed after it was written.
    """
    try:
        record = parse_json(path.read_text(encoding="utf-8"), _Seal)
        is_whole = record["sha256"] == digest(record)
        if record["schema"] == schema and is_whole:
            return convert(record, kind, "it")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} is not the record of a {owner} ({reason})") from None
    if record["schema"] != schema:
        versions = record.get("versions")
        writer = versions.get("nstjax") if isinstance(versions, dict) else None
        raise UserError(
            f"{path} has schema {record['schema']}, but this nstjax reads {schema}: use the nstjax that wrote it "
            f"({writer or 'another version'})"
        )
    raise UserError(
        f"{path} was changed after the {owner} began: undo the change, because a {owner} keeps its settings, or start "
        f"a new {owner} with other settings"
    )


def read(path: Path) -> RunRecord:
    """Return the record in a file.

    Raises:
        UserError: the file is not a record, has another schema, or was changed after it was written.
    """
    record = read_sealed(path, _Record, schema=SCHEMA, owner="run")
    try:
        parse_config(record)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    try:
        arrays = {name: array for name, array in record["pictures"].items() if name != "names"}
        convert(arrays, dict[str, _Array], "pictures")
        for pointer in (record[name] for name in ("sweep", "taken_out") if name in record):
            _check_pointer(pointer)
    except ValueError as error:
        raise UserError(f"{path} is not the record of a run ({error})") from None
    return record


def read_pointer(path: Path) -> Pointer | None:
    """Return where the state of a sweep's member is; None for a single run, and where there is no readable record."""
    try:
        pointer = parse_json(path.read_text(encoding="utf-8"), _Member)["sweep"]
        _check_pointer(pointer)
    except (OSError, ValueError):
        return None
    return pointer


def _check_pointer(pointer: Pointer) -> None:
    """Raise if a member does not point into a group of its own sweep.

    Raises:
        ValueError: it does not.
    """
    if not re.fullmatch(r"\.\.[/\\]\.\.[/\\]groups[/\\]\w[\w-]*", pointer["group"]):
        raise ValueError(f"{pointer['group']} is not a group of its sweep")
    if not 0 <= pointer["index"] < pointer["size"]:
        raise ValueError(f"index {pointer['index']} is not one of {pointer['size']}")


def parse_config(record: RunRecord) -> Config:
    """Return the settings in a record.

    Raises:
        UserError: this version of nstjax has other settings, or a setting has no such value.
    """
    if other := record["config"].keys() ^ {field.name for field in dataclasses.fields(Config)}:
        first, *others = sorted(other)
        names = f"{first} and {len(others)} more" if others else first
        raise UserError(f"the run was made by an nstjax with other settings ({names}): use that one")
    try:
        config = convert(record["config"], Config, "config")
    except ValueError as error:
        raise UserError(f"the run has a setting that it cannot have: {error}") from None
    if config.tile == "auto":
        raise UserError("the run has a setting that it cannot have: tile is auto")
    if unset := [name for name in ("horizon", "log_every", "pooling", "padding") if getattr(config, name) is None]:
        raise UserError(f"the run has a setting that it cannot have: {unset[0]} is null")
    if isinstance(config.sizes, str) or config.steps != config.steps_by_stage:
        raise UserError(
            "the run has a setting that it cannot have: sizes and steps must be lists, with steps for each size"
        )
    return config


def count_steps(record: RunRecord) -> int:
    """Return the number of steps of the run, of all sizes together."""
    return sum(record["config"]["steps"])


def extend(record: RunRecord, steps: int) -> RunRecord:
    """Return the record with more steps at the last size; a schedule still ends at its original step.

    Raises:
        UserError: fewer steps than the record has.
    """
    present = count_steps(record)
    if steps < present:
        raise UserError(f"a run can be extended, not cut: it has {present:,} steps, and --steps asks for {steps:,}")
    longer = copy.deepcopy(record)
    longer["config"]["steps"][-1] += steps - present
    return seal(longer)


def identity(record: RunRecord) -> str:
    """Return a checksum of everything that a state depends on.

    The number of steps at the last size and the other members of a sweep are left out.
    """
    config = record["config"]
    return digest({**record, "config": {**config, "steps": config["steps"][:-1]}, "sweep": None})


def to_plain_data(config: Config) -> dict[str, Any]:
    """Return the settings in the form that a record has."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def digest(content: RunRecord) -> str:
    """Return the checksum of plain data, without the checksum that is part of it."""
    text = json.dumps({name: part for name, part in content.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
