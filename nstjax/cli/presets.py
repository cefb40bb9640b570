"""The command that lists presets, and shows the settings of one as the options that would give them."""

import argparse
import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment, load, presets
from nstjax.experiment.sizes import format_steps


def add(commands: Any) -> None:
    """Add ``presets`` to the commands."""
    help = "List the experiments that come with nstjax, or show the settings of one"
    parser = commands.add_parser("presets", help=help, description=f"{help}.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="Preset, or experiment's file, whose settings to show")
    parser.set_defaults(command=_show)


def _show(arguments: argparse.Namespace) -> int:
    if arguments.name is not None:
        print(*describe(load(arguments.name)), sep="\n")
        return 0
    experiments = {name: load(path) for name, path in presets().items()}
    width = max(map(len, experiments))
    for name, experiment in experiments.items():
        print(f"{name:{width}}  {experiment.summary}")
    return 0


def describe(experiment: Experiment) -> Iterator[str]:
    """Yield the lines that describe an experiment: its summary, its file, and each setting that is not the default."""
    yield experiment.summary
    meant = f", for {experiment.flavour} weights" if experiment.flavour else ""
    yield f"{experiment.path}, version {experiment.version}{meant}"
    yield from format_options(experiment.config)
    for flavour, settings in experiment.flavours.items():
        if settings:
            yield f"with {flavour} weights: {' '.join(format_option(*item) for item in settings.items())}"


def format_options(config: Config) -> list[str]:
    """Return the options of ``nstjax run`` that turn the default settings into these."""
    default = Config()
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return [format_option(name, value) for name, value in values.items() if value != getattr(default, name)]


def format_option(name: str, value: Any) -> str:
    """Return the option of ``nstjax run`` that gives a setting a value, quoted for a shell."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option} {shlex.quote(format_steps(value) if name == 'steps' else _format_value(value))}"


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        separator = "," if all(isinstance(part, int | float) for part in value.values()) else ";"
        return separator.join(f"{term}={_format_value(part)}" for term, part in value.items())
    if isinstance(value, tuple):
        return ",".join(map(_format_value, value)) or "none"
    if isinstance(value, float) and value == int(value) and value < 1e15:
        return str(int(value))
    return "none" if value is None else str(value)
