"""The command line.

Exit codes: 0 done; 1 a failure; 2 a mistake of the user; 129, 130 and 143 stopped by a signal. Each error is one line
on stderr.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from nstjax.cli import runs, weights
from nstjax.errors import Failure, UserError
from nstjax.system import memory, signals, streams
from nstjax.system.versions import read_version


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises ``UserError``, so that a mistake is one line on stderr."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, add_help=False)
        self._optionals.title, self._positionals.title = "Options", "Arguments"
        self.add_argument("-h", "--help", action="help", help="Show this help and exit")

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def entry() -> NoReturn:
    """Run the command line and exit with its code."""
    streams.protect_streams()
    try:
        code = main()
    except SystemExit as end:
        if end.code in [128 + number for number in signals.STOPS]:
            # Stopped at once, perhaps during a compilation, whose threads would crash while Python shuts down.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    memory.keep_freed_memory()  # before the array libraries start their threads
    try:
        arguments, unknown = _parser().parse_known_args(argv)
        if unknown:
            raise UserError(f"unknown argument {unknown[0]}: nstjax {arguments.verb} --help lists the options")
        return arguments.command(arguments)
    except UserError as error:
        return _print_error(str(error), 2)
    except (Failure, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _print_error(f"the path {error.filename} is too long: choose a shorter one", 2)
        return _print_error(str(error), 1)
    except KeyboardInterrupt:
        print("nstjax: stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _print_error(message: str, code: int) -> int:
    # The name of a file may hold line breaks.
    print("nstjax:", message.replace("\n", "\\n"), file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nstjax", description="Neural style transfer by optimisation, in JAX.", allow_abbrev=False)
    version = f"nstjax {read_version('nstjax')}"
    parser.add_argument("--version", action="version", version=version, help="Print the version and exit")
    commands = parser.add_subparsers(
        dest="verb", required=True, title="Commands", metavar="COMMAND", parser_class=_Parser
    )

    runs.add(commands)
    presets = commands.add_parser("presets", help="List the experiments that come with nstjax")
    presets.set_defaults(command=_presets)

    devices = commands.add_parser("devices", help="Print the devices that JAX sees")
    devices.set_defaults(command=_devices)

    weights.add(commands)
    return parser


def _presets(arguments: argparse.Namespace) -> int:
    from nstjax.experiment.experiment import load, presets

    experiments = {name: load(path) for name, path in presets().items()}
    width = max(map(len, experiments))
    for name, experiment in experiments.items():
        print(f"{name:{width}}  {experiment.summary}")
    return 0


def _devices(arguments: argparse.Namespace) -> int:
    from nstjax.system import devices

    print("\n".join(devices.describe_devices()))
    return 0
