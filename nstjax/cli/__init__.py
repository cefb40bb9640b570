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

from nstjax.cli import presets, runs, shared, weights
from nstjax.errors import Failure, UserError
from nstjax.system import memory, signals, streams
from nstjax.system.versions import read_version


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises ``UserError``, so that a mistake is one line on stderr."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, add_help=False)
        self._optionals.title, self._positionals.title = "Options", "Arguments"
        self.add_argument("-h", "--help", action="help", help="Show this help and exit")
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def entry() -> NoReturn:
    """Run the command line and exit with its code."""
    streams.protect_streams()
    try:
        code = main()
    except SystemExit as end:
        if isinstance(end.code, int) and end.code - 128 in signals.STOPS:
            # Stopped at once, perhaps during a compilation, whose threads would crash while Python shuts down.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    memory.keep_freed_memory()  # before the array libraries start their threads
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments, unknown = _parser().parse_known_args(argv)
        if unknown:
            raise UserError(_describe_unknown(unknown[0], argv, arguments.parser))
        _check_not_empty(arguments)
        _check_current_folder()
        return arguments.command(arguments)
    except UserError as error:
        shared.print_line(error)
        return 2
    except (Failure, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            shared.print_line(f"the path {error.filename} is too long: choose a shorter one")
            return 2
        shared.print_line(error)
        return 1
    except MemoryError as error:
        shared.print_line(f"out of memory ({error}): use smaller pictures, or a smaller --size")
        return 1
    except KeyboardInterrupt:
        shared.print_line("stopped")
        return 128 + signal.SIGINT


def _describe_unknown(unknown: str, argv: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Return a line about an argument that the parser does not take."""
    option, values = None, 0
    for argument in argv if not unknown.startswith("--") else ():
        name, has_value, _ = argument.partition("=")
        if name in parser._option_string_actions:
            option, values = parser._option_string_actions[name], len(has_value)
        elif argument == unknown and option is not None and option.nargs is None and values == 1:
            kind = "number" if option.metavar in ("N", "X", "W") else "value"
            return f"{option.option_strings[0]} takes one {kind}, but {unknown} follows as a second one"
        else:
            values += 1
    return f"unknown argument {unknown}: {parser.prog} --help lists the options"


def _check_not_empty(arguments: argparse.Namespace) -> None:
    for name, value in vars(arguments).items():
        if "" in (value if isinstance(value, list) else [value]):
            raise UserError(f"{name.replace('_', '-')} is empty: a variable of the shell may not be set")


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the current folder cannot be used ({error.strerror}): change to another with cd") from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nstjax", description="Neural style transfer by optimisation, in JAX.", allow_abbrev=False)
    version = f"nstjax {read_version('nstjax')}"
    parser.add_argument("--version", action="version", version=version, help="Print the version and exit")
    commands = parser.add_subparsers(
        dest="verb", required=True, title="Commands", metavar="COMMAND", parser_class=_Parser
    )

    runs.add(commands)
    presets.add(commands)

    devices = commands.add_parser("devices", help="Print the devices that JAX sees")
    devices.set_defaults(command=_devices)

    weights.add(commands)
    return parser


def _devices(arguments: argparse.Namespace) -> int:
    shared.start_jax()
    from nstjax.system import devices

    print("\n".join(devices.describe_devices()))
    return 0
