"""The record of a run, the content of ``config.json``: resolved settings and what the run was made with.

A record is plain data with a checksum. A resumed run follows it, so a record that was edited, or that another version
wrote in another format, is refused.
"""

import copy
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, TypeAlias

from nstjax.errors import UserError
from nstjax.experiment.config import Config

RunRecord: TypeAlias = dict[str, Any]

SCHEMA = 4
"""Version of the record's format."""


def seal(record: RunRecord) -> RunRecord:
    """Return the record with the schema and its checksum."""
    content = {"schema": SCHEMA, **{name: part for name, part in record.items() if name not in ("schema", "sha256")}}
    return {**content, "sha256": digest(content)}


def read(path: Path) -> RunRecord:
    """Return the record in a file.

    Raises:
        UserError: the file is not a record, has another schema, or was changed after it was written.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema, _ = record["schema"], record["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is not the record of a run ({getattr(error, 'strerror', None) or error})") from None
    if schema != SCHEMA:
        writer = record.get("versions", {}).get("nstjax", "another version")
        raise UserError(
            f"{path} has schema {schema}, but this nstjax reads {SCHEMA}: use the nstjax that wrote it ({writer})"
        )
    if record["sha256"] != digest(record):
        raise UserError(
            f"{path} was changed after the run began: undo the change, because a run keeps its settings, or start a "
            "new run with other settings"
        )
    return record


def parse_config(record: RunRecord) -> Config:
    """Return the settings in a record.

    Raises:
        UserError: this version of nstjax has other settings.
    """
    if other := record["config"].keys() ^ {field.name for field in dataclasses.fields(Config)}:
        raise UserError(f"the run was made by an nstjax with other settings ({', '.join(sorted(other))}): use that one")
    return Config(**record["config"])


def extend(record: RunRecord, steps: int) -> RunRecord:
    """Return the record with more steps and nothing else changed: a schedule still ends at its original step.

    Raises:
        UserError: fewer steps than the record has.
    """
    present = record["config"]["steps"]
    if steps < present:
        raise UserError(f"a run can be extended, not cut: it has {present:,} steps, and --steps asks for {steps:,}")
    longer = copy.deepcopy(record)
    longer["config"]["steps"] = steps
    if size_steps := longer["config"]["size_steps"]:
        size_steps[-1] += steps - present
    return seal(longer)


def identity(record: RunRecord) -> str:
    """Return a checksum of everything that a state depends on.

    The total number of steps and the other members of a sweep are left out.
    """
    config = record["config"]
    open_ended = {"steps": None, "size_steps": config["size_steps"][:-1]}
    return digest({**record, "config": {**config, **open_ended}, "sweep": None})


def to_plain_data(config: Config) -> dict[str, Any]:
    """Return the settings in the form that a record has."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def digest(content: RunRecord) -> str:
    """Return the checksum of plain data, without the checksum that is part of it."""
    text = json.dumps({name: part for name, part in content.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
