"""The commands about runs and sweeps."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nstjax.cli import options, shared
from nstjax.errors import UserError

if TYPE_CHECKING:
    from nstjax.cli.terminal import Terminal
    from nstjax.runs.result import Result
    from nstjax.sweeps.sweep import SweepResult


def add(commands: Any) -> None:
    """Add ``run``, ``sweep``, ``resume``, ``status`` and ``report`` to the commands."""
    run = _add_command(
        commands,
        "run",
        _run,
        "Draw the content of one picture in the style of another",
        usage="CONTENT STYLE [options]",
    )
    pictures = shared.add_pictures(run)
    pictures.add_argument(
        "--pixel-limit", type=int, metavar="N", help="Refuse pictures with more pixels than N (default: 178,000,000)"
    )
    shared.add_experiment(run)
    shared.add_output(run, out="Folder of the run (default: runs/CONTENT-STYLE-N)", save=True)
    shared.add_machines(run)
    options.add(run)

    sweep = _add_command(
        commands,
        "sweep",
        _sweep,
        "Run every combination of some values, many at a time",
        usage="CONTENT STYLE [options]",
    )
    pictures = shared.add_pictures(sweep)
    for name in ("content", "style"):
        help = f"Further {name} pictures, for further members of the sweep (default: none)"
        pictures.add_argument(f"--more-{name}s", nargs="+", default=[], metavar="FILE", help=help)
    shared.add_experiment(sweep)
    members = sweep.add_argument_group("Members", "A member is one run of the sweep.")
    members.add_argument(
        "--zip", action="store_true", help="Combine only the first values, the second values, … (default: all with all)"
    )
    members.add_argument(
        "--group-size", type=int, metavar="N", help="Members computed at a time (default: as many as fit into memory)"
    )
    shared.add_output(sweep, out="Folder of the sweep (default: runs/CONTENT-STYLE-sweep-N)")
    shared.add_machines(sweep)
    options.add(sweep, several=True)

    resume = _add_command(
        commands,
        "resume",
        _resume,
        "Continue a run or a sweep from its newest checkpoint, as if it had never stopped",
        usage="DIR [options]",
    )
    shared.add_folder(resume)
    resume.add_argument(
        "--steps", type=int, metavar="TOTAL", help="Extend the run to TOTAL steps (default: the steps it began with)"
    )
    shared.add_output(resume, save=True)
    shared.add_machines(resume)

    shared.add_folder(_add_command(commands, "status", _status, "Print how far a run or a sweep is", usage="DIR"))
    shared.add_folder(
        _add_command(commands, "report", _report, "Draw the pictures and the page of a run or a sweep", usage="DIR")
    )


def _add_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], help: str, *, usage: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"{help}.", usage=f"%(prog)s {usage}", allow_abbrev=False)
    parser.set_defaults(command=function)
    return parser


def _find_part(arguments: argparse.Namespace) -> str | None:
    """Return the part of a sweep that is asked for. Comes before JAX starts the devices, which a meeting may need."""
    from nstjax.system.processes import detect_part, parse_part

    def notice(line: str) -> None:
        if not arguments.quiet:
            print(shared.to_line(line), file=sys.stderr)

    parse_part(arguments.part)
    return detect_part(notice) if arguments.distributed else arguments.part


def _run(arguments: argparse.Namespace) -> int:
    from nstjax import images
    from nstjax.experiment.choice import settle
    from nstjax.experiment.experiment import load
    from nstjax.experiment.inputs import check_sources, prepare
    from nstjax.storage.run_folder import RunFolder

    experiment = load(arguments.experiment or arguments.preset).replace(**options.read_settings(arguments))
    if arguments.save:
        images.check_output(arguments.save, depth=experiment.config.depth)
    further = {"content_mask": arguments.content_mask, "style_masks": arguments.style_masks}
    if arguments.pixel_limit is not None:
        further["pixel_limit"] = arguments.pixel_limit
    pictures = arguments.content, [arguments.style, *arguments.blend]
    check_sources(*pictures, experiment.config, **further)
    masks = [arguments.content_mask or "", *arguments.style_masks]
    _check_save(arguments, [pictures[0], *pictures[1], *masks, experiment.config.init])
    together = _is_together(arguments, shards=experiment.config.shard_picture)
    if together and not arguments.out:
        raise UserError("processes that share a picture need to know its folder: add --out DIR")
    if arguments.out and not together:  # else the leader checks
        RunFolder(arguments.out).check_new()
    with shared.open_terminal(arguments) as terminal:
        experiment, choice = settle(experiment, terminal)
        inputs = prepare(*pictures, experiment.config, **further)
        # After every check that needs no JAX.
        with shared.running_jax(arguments, terminal, together=together), _open_folder(arguments, inputs.names) as out:
            from nstjax.runs import stylize

            result = stylize.run(experiment, choice, inputs, out=out, listener=terminal)
            return _show(result, arguments, terminal)


def _is_together(arguments: argparse.Namespace, *, shards: bool) -> bool:
    """Return whether a run is shared among processes."""
    if not (arguments.part or arguments.distributed):
        return False
    if not shards:
        raise UserError(
            "--part and --distributed divide a sweep, or the tiles of a picture: add --shard-picture, or leave them out"
        )
    return True


def _check_save(arguments: argparse.Namespace, sources: Sequence[str]) -> None:
    """Raise if --save would write over a file that the run was given."""
    if arguments.save and os.path.exists(arguments.save):
        for source in sources:
            if os.path.exists(source) and os.path.samefile(source, arguments.save):
                raise UserError(f"--save {arguments.save} would write over a picture of the run: choose another name")


def _open_folder(arguments: argparse.Namespace, names: Sequence[str]) -> AbstractContextManager[Path]:
    """Open the folder that --out names, or a new one."""
    from nstjax.storage.new_folder import create_numbered_folder

    return nullcontext(Path(arguments.out)) if arguments.out else create_numbered_folder(Path("runs"), names)


def _sweep(arguments: argparse.Namespace) -> int:
    from nstjax.experiment.experiment import load
    from nstjax.experiment.inputs import source_name

    experiment = load(arguments.experiment or arguments.preset).replace(**options.read_settings(arguments))
    contents, styles = [arguments.content, *arguments.more_contents], [arguments.style, *arguments.more_styles]
    names = (source_name(arguments.content), source_name(arguments.style), "sweep")
    if (arguments.part or arguments.distributed) and not arguments.out:
        raise UserError("processes that share a sweep need a folder that all of them see: add --out DIR")
    part = _find_part(arguments)

    with (
        shared.open_terminal(arguments) as terminal,
        shared.running_jax(arguments, terminal),
        _open_folder(arguments, names) as out,
    ):
        from nstjax.sweeps import sweep

        result = sweep.sweep(
            contents,
            styles,
            vary=options.read_axes(arguments),
            paired=arguments.zip,
            blend=arguments.blend,
            content_mask=arguments.content_mask,
            style_masks=arguments.style_masks,
            experiment=experiment,
            out=out,
            group_size=arguments.group_size,
            part=part,
            listener=terminal,
        )
        return _show_sweep(result, terminal)


def _show_sweep(result: "SweepResult", terminal: "Terminal") -> int:
    """Print where the results are, and how to continue a sweep that was stopped; return the exit code."""
    if result.finished:
        print(f"page: {result.folder}/report.html")
    print(f"sweep: {result.folder}")
    if not result.finished and terminal.signal is not None:
        shared.print_line(f"stopped; to go on: nstjax resume {shlex.quote(str(result.folder))}")
        return 128 + terminal.signal
    return 1 if any(member is not None and member.diverged for member in result.members) else 0


def _resume(arguments: argparse.Namespace) -> int:
    from nstjax.storage.sweep_folder import SweepFolder

    is_sweep = SweepFolder(arguments.folder).exists()
    if is_sweep and arguments.save:
        raise UserError("--save takes one result, and a sweep has many: leave --save out")
    together = not is_sweep and _check_resume(arguments)
    part = None if together else _find_part(arguments)

    # Starts JAX, so it comes after every check that needs none.
    with shared.open_terminal(arguments) as terminal, shared.running_jax(arguments, terminal, together=together):
        from nstjax import folders
        from nstjax.runs.result import Result

        result = folders.resume(arguments.folder, steps=arguments.steps, part=part, listener=terminal)
        return _show(result, arguments, terminal) if isinstance(result, Result) else _show_sweep(result, terminal)


def _check_resume(arguments: argparse.Namespace) -> bool:
    """Return whether a run is shared among processes; raise if it cannot be resumed as asked for."""
    from nstjax import images
    from nstjax.experiment.record import extend
    from nstjax.storage.run_folder import RunFolder

    folder = RunFolder(arguments.folder)
    run = folder.read_record()
    together = _is_together(arguments, shards=run["config"]["shard_picture"])
    if arguments.save:
        images.check_output(arguments.save, depth=run["config"]["depth"])
    _check_save(arguments, folder.read_sources())
    if arguments.steps is not None:
        extend(run, arguments.steps)
    return together


def _show(result: "Result", arguments: argparse.Namespace, terminal: "Terminal") -> int:
    """Print where the result is, and how to continue a run that was stopped; return the exit code."""
    from nstjax.experiment.record import count_steps

    if result.folder is None:  # the leader of the cluster has it
        return 0
    if arguments.save:
        result.save(arguments.save)
    print(f"picture: {arguments.save or result.folder / 'output.png'}")
    print(f"run: {result.folder}")
    steps = count_steps(result.record)
    if result.steps < steps and terminal.signal is not None:
        message = f"stopped after {result.steps:,} of {steps:,} steps"
        shared.print_line(f"{message}; to go on: nstjax resume {shlex.quote(str(result.folder))}")
        return 128 + terminal.signal
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from nstjax.storage import status
    from nstjax.storage.run_folder import RunFolder
    from nstjax.storage.sweep_folder import SweepFolder

    sweep = SweepFolder(arguments.folder)
    if sweep.exists():
        print("\n".join(status.format_sweep_status(sweep)))
        return 0
    folder = RunFolder(arguments.folder)
    print("\n".join(status.format_status(status.read_status(folder), folder)))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from nstjax import folders
    from nstjax.cli.terminal import Terminal

    with Terminal(quiet=True) as terminal:
        print(folders.report(arguments.folder, listener=terminal))
    return 0
