"""What ``config.json`` says: a run's resolved settings and what it was made with, as plain data with a checksum.

A resume obeys the record, so one that was edited, or that another version wrote in another form, is refused.
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
"""Of the record; a change of its form is a new number."""


def sealed(record: RunRecord) -> RunRecord:
    """The record with its schema's number and its checksum."""
    content = {"schema": SCHEMA, **{name: it for name, it in record.items() if name not in ("schema", "sha256")}}
    return {**content, "sha256": digest(content)}


def read(path: Path) -> RunRecord:
    """The record in a file.

    Raises:
        UserError: it is no record, of another schema, or was changed after it was written.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema, _ = record["schema"], record["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no record of a run ({getattr(error, 'strerror', None) or error})") from None
    if schema != SCHEMA:
        writer = record.get("versions", {}).get("nstjax", "another version")
        raise UserError(
            f"{path} has schema {schema}, and this nstjax reads {SCHEMA}: use the nstjax that wrote it ({writer})"
        )
    if record["sha256"] != digest(record):
        raise UserError(
            f"{path} was changed after the run began: a run keeps its settings, so undo the change, or begin a new run "
            "with other settings"
        )
    return record


def config_of(record: RunRecord) -> Config:
    """The settings in a record.

    Raises:
        UserError: they are not those that this nstjax knows.
    """
    if other := record["config"].keys() ^ {field.name for field in dataclasses.fields(Config)}:
        raise UserError(f"the run was made by an nstjax with other settings ({', '.join(sorted(other))}): use that one")
    return Config(**record["config"])


def extended(record: RunRecord, steps: int) -> RunRecord:
    """The record with more steps and nothing else changed: a schedule ends where it was to end.

    Raises:
        UserError: fewer steps than it has.
    """
    present = record["config"]["steps"]
    if steps < present:
        raise UserError(f"a run can be extended, not cut: it has {present:,} steps, and --steps asks for {steps:,}")
    longer = copy.deepcopy(record)
    longer["config"]["steps"] = steps
    if each := longer["config"]["size_steps"]:
        each[-1] += steps - present
    return sealed(longer)


def identity(record: RunRecord) -> str:
    """A checksum of all that a state depends on: not how many steps are made in all, nor together with what."""
    config = record["config"]
    open_ended = {"steps": None, "size_steps": config["size_steps"][:-1]}
    return digest({**record, "config": {**config, **open_ended}, "sweep": None})


def plain(config: Config) -> dict[str, Any]:
    """Settings as they are in a record."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def digest(content: RunRecord) -> str:
    """The checksum of plain data; what it says of its own checksum is left out."""
    text = json.dumps({name: it for name, it in content.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
