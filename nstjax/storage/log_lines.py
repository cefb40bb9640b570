"""The lines of a run's metrics and of its progress: JSON, in which a value that is not finite is null."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from nstjax.callbacks import TIMES, LogLine
from nstjax.errors import Failure
from nstjax.experiment.config import Config
from nstjax.system.plain_data import parse_json


def read(path: Path, config: Config) -> list[LogLine]:
    """Return the logged steps of a run with these settings; none if there is no file.

    Raises:
        Failure: a line is not a logged step of this run.
    """
    try:
        lines = [parse(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        for line in lines:
            names = {*TIMES, "total", *config.weights_at(int(line["step"]))}
            if other := names ^ line.keys():
                raise ValueError(f"step {line['step']} {'lacks' if other <= names else 'has'} {min(other)}")
            if not 0 <= line["step"] < config.total_steps:
                raise ValueError(f"it has step {line['step']}, and the run has {config.total_steps:,}")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        how = "correct it, or remove the file, which loses the curves"
        raise Failure(f"{path} has a line that is not a logged step ({error}): {how}") from None
    return [*{line["step"]: line for line in lines}.values()]


def parse(text: str) -> LogLine:
    """Return the values of a line; null is NaN.

    Raises:
        ValueError: the line is not JSON, has no step, or a value is not a number.
    """
    values = parse_json(text, dict[str, float | bool | None])
    if type(values.get("step")) is not int:
        raise ValueError("it has no step")
    return {name: math.nan if value is None else value for name, value in values.items()}


def format(values: Mapping[str, float]) -> str:
    """Return values as a line."""
    # JSON has no NaN: a loss that is not finite becomes null.
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps(finite) + "\n"
