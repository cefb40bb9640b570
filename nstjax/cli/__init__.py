"""The command line: arguments to a config, a config to a loop.

Exit codes: 0 done; 1 something went wrong; 2 the user's mistake; 130 and 143 stopped by a signal. What went wrong is
one line on stderr.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NoReturn

from nstjax.cli import runs, weights
from nstjax.errors import Failure, UserError
from nstjax.system import memory


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def entry() -> NoReturn:
    """The process: run a command, and end with its exit code."""
    try:
        code = main()
    except SystemExit as end:
        if end.code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            # Stopped at once, perhaps amid a compilation, whose threads do not outlive what Python takes down first.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    memory.keep_freed_memory()  # before the array libraries start their threads
    try:
        arguments, unknown = _parser().parse_known_args(argv)
        if unknown:
            raise UserError(f"unknown argument {unknown[0]}: nstjax {arguments.verb} --help lists those there are")
        return arguments.command(arguments)
    except UserError as error:
        print(f"nstjax: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Failure, OSError) as error:
        print(f"nstjax: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("nstjax: stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nstjax", description="Neural style transfer by optimisation, in JAX.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"nstjax {metadata.version('nstjax')}")
    commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND", parser_class=_Parser)

    runs.add(commands)
    presets = commands.add_parser("presets", help="list the experiments that come with nstjax")
    presets.set_defaults(command=_presets)

    listing = commands.add_parser("devices", help="print what JAX sees")
    listing.set_defaults(command=_devices)

    weights.add(commands)
    return parser


def _presets(arguments: argparse.Namespace) -> int:
    from nstjax.experiment.experiment import load, presets

    found = {name: load(path) for name, path in presets().items()}
    width = max(map(len, found))
    for name, experiment in found.items():
        print(f"{name:{width}}  {experiment.summary}")
    return 0


def _devices(arguments: argparse.Namespace) -> int:
    from nstjax.system import devices

    print("\n".join(devices.lines()))
    return 0
