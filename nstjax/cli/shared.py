"""Arguments and messages that several commands share, and the start of JAX."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nstjax.errors import UserError

if TYPE_CHECKING:
    from nstjax.cli.terminal import Terminal


def to_line(message: object) -> str:
    """Return a message as one line: the name of a file may hold line breaks and codes that move the cursor."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(message)
    )


def print_line(message: object) -> None:
    """Print a message as one line on stderr."""
    print(f"nstjax: {to_line(message)}", file=sys.stderr)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a run or a sweep."""
    parser.add_argument("folder", metavar="DIR", help="Folder of the run or the sweep, as its command printed it")


def add_pictures(parser: argparse.ArgumentParser) -> Any:
    """Add the options for the pictures; returns their group."""
    group = parser.add_argument_group("Pictures")
    group.add_argument("content", metavar="CONTENT", help="Content picture: a file, or example:NAME")
    group.add_argument("style", metavar="STYLE", help="Style picture: a file, or example:NAME")
    group.add_argument(
        "--blend", nargs="+", default=[], metavar="FILE", help="Further styles, blended with STYLE (default: none)"
    )
    group.add_argument(
        "--content-mask",
        metavar="FILE",
        help="Picture that paints each region of CONTENT in one colour (default: none)",
    )
    group.add_argument(
        "--style-masks",
        nargs="+",
        default=[],
        metavar="FILE|COLOUR",
        help="Mask of each style in the colours of --content-mask; a colour's name gives that region the whole style "
        "(default: none)",
    )
    return group


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose an experiment."""
    group = parser.add_argument_group("Experiment").add_mutually_exclusive_group()
    help = "Experiment that comes with nstjax; 'nstjax presets' lists them (default: default)"
    group.add_argument("--preset", default="default", metavar="NAME", help=help)
    group.add_argument(
        "--experiment", metavar="FILE", help="Python file that defines config and terms(config), instead of --preset"
    )


def add_machines(parser: argparse.ArgumentParser) -> None:
    """Add the options for processes that share a sweep, or the tiles of a picture."""
    group = parser.add_argument_group(
        "Several processes", "They share a sweep and its folder, or with --shard-picture the tiles of one picture."
    )
    group = group.add_mutually_exclusive_group()
    group.add_argument("--part", metavar="I/N", help="Compute the I-th of N parts, such as 2/4 (default: all)")
    group.add_argument(
        "--distributed", action="store_true", help="Let Slurm, Kubernetes or a TPU pod say which part this process is"
    )


def add_output(parser: argparse.ArgumentParser, *, out: str | None = None, save: bool = False) -> None:
    """Add the options for what is written and shown.

    Args:
        parser: the command's parser.
        out: help of ``--out``; None leaves the option out.
        save: add ``--save``.
    """
    group = parser.add_argument_group("Output")
    if out:
        group.add_argument("--out", metavar="DIR", help=out)
    if save:
        help = "Write the result into this file as well: .png .jpg .webp .tiff (default: only into the run's folder)"
        group.add_argument("--save", metavar="FILE", help=help)
    group.add_argument("--quiet", action="store_true", help="Show only warnings and where the result is")
    group.add_argument(
        "--compilation-cache",
        metavar="DIR|none",
        help="Folder that keeps compiled programs, or none (default: a folder in the user's cache)",
    )


def start_jax() -> None:
    """Import JAX and start its devices.

    Raises:
        UserError: JAX rejects a variable of the environment, or cannot start a device.
    """
    try:
        from nstjax.system.jax_settings import start_devices
    except ValueError as error:
        raise UserError(f"JAX does not start: {error}") from None
    start_devices()


def open_terminal(arguments: argparse.Namespace) -> "Terminal":
    """Return a listener that shows a run on stderr. Starts no JAX."""
    from nstjax.cli.terminal import Terminal

    return Terminal(quiet=arguments.quiet)


@contextmanager
def running_jax(arguments: argparse.Namespace, terminal: "Terminal", *, together: bool = False) -> Iterator[None]:
    """Start JAX and enable the compilation cache, while a command computes.

    Args:
        arguments: those of the command.
        terminal: told of what is wrong.
        together: whether this process first meets others, whose leader alone then says what happens.
    """
    if together:
        from nstjax.system import cluster

        cluster.join(arguments.part, terminal.notice)
        terminal.quiet = terminal.quiet or not cluster.leads()
    start_jax()
    import jax

    from nstjax.system.compilation_cache import enable_cache

    with enable_cache(arguments.compilation_cache, terminal.warning):
        if jax.config.values["jax_disable_jit"]:
            terminal.warning("JAX_DISABLE_JIT has no effect on a run: print values in a loss with jax.debug.print")
        yield
