"""The commands about runs and sweeps."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nstjax.cli import options
from nstjax.errors import UserError

if TYPE_CHECKING:
    from nstjax.cli.terminal import Terminal
    from nstjax.runs.stylize import Result
    from nstjax.sweeps.sweep import SweepResult
    from nstjax.system.processes import Place


def add(commands: Any) -> None:
    """Add ``run``, ``sweep``, ``resume``, ``status`` and ``report`` to the commands."""
    run = commands.add_parser("run", help="draw the content of one picture in the style of another", allow_abbrev=False)
    _add_pictures(run)
    run.add_argument("--out", metavar="DIR", help="folder of the run; by default runs/CONTENT-STYLE-N")
    _add_save(run)
    run.add_argument("--pixel-limit", type=int, metavar="N", help="refuse pictures with more pixels than this")
    options.add(run)
    run.set_defaults(command=_run)

    sweep = commands.add_parser(
        "sweep", help="the same for every combination of some values, many at a time", allow_abbrev=False
    )
    _add_pictures(sweep)
    sweep.add_argument("--more-contents", nargs="+", default=[], metavar="FILE", help="vary the content picture, too")
    sweep.add_argument("--more-styles", nargs="+", default=[], metavar="FILE", help="vary the style picture, too")
    sweep.add_argument("--zip", action="store_true", help="the first values together, the second, … in place of all")
    sweep.add_argument("--group-size", type=int, metavar="N", help="how many at a time; by default what fits")
    sweep.add_argument("--out", metavar="DIR", help="folder of the sweep; by default runs/CONTENT-STYLE-sweep-N")
    _add_place(sweep)
    _add_common(sweep)
    options.add(sweep, several=True)
    sweep.set_defaults(command=_sweep)

    resume = commands.add_parser(
        "resume",
        help="go on with a run or a sweep from its newest checkpoint, as if nothing had happened",
        allow_abbrev=False,
    )
    _add_folder(resume)
    resume.add_argument("--steps", type=int, metavar="TOTAL", help="extend the run to so many steps in all")
    _add_place(resume)
    _add_save(resume)
    resume.set_defaults(command=_resume)

    status = commands.add_parser("status", help="how far a run or a sweep is")
    _add_folder(status)
    status.set_defaults(command=_status)

    report = commands.add_parser("report", help="draw a run's sheet, curves and page, or a sweep's, as far as it is")
    _add_folder(report)
    report.set_defaults(command=_report)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="of the run, as nstjax run has printed it")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("content", help="picture file, or example:NAME")
    parser.add_argument("style", help="picture file, or example:NAME")
    parser.add_argument("--blend", nargs="+", default=[], metavar="FILE", help="further styles, blended with the first")
    parser.add_argument("--content-mask", metavar="FILE", help="picture in which each region has a colour of its own")
    parser.add_argument(
        "--style-masks",
        nargs="+",
        default=[],
        metavar="FILE",
        help="likewise, of each style; or a colour, for the style of the whole of which that region is drawn",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--preset", default="default", metavar="NAME", help="experiment that comes with nstjax; see presets"
    )
    what.add_argument("--experiment", metavar="FILE", help="Python file that defines config and terms(config)")


def _add_place(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several machines", "that share a sweep, and its folder")
    group.add_argument("--distributed", action="store_true", help="Slurm, Kubernetes or a TPU pod tells which this is")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="otherwise: where the first of them is found")
    group.add_argument("--processes", type=int, metavar="N", help="how many they are")
    group.add_argument("--process-index", type=int, metavar="I", help="which of them this is, from 0")


def _place(arguments: argparse.Namespace) -> "Place":
    from nstjax.system.processes import Place, join

    told = (arguments.coordinator, arguments.processes, arguments.process_index)
    if not arguments.distributed and told == (None, None, None):
        return Place()
    return join(coordinator=told[0], processes=told[1], index=told[2])


def _add_save(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="FILE", help="write the result here too: .png .jpg .webp .tiff")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress, only warnings and where the result is")
    parser.add_argument(
        "--compilation-cache",
        metavar="DIR|none",
        help="keep compiled programs there, or nowhere; by default in the user's cache",
    )


@contextmanager
def _started(arguments: argparse.Namespace) -> Iterator["Terminal"]:
    """JAX is started here, for a command that has found nothing wrong without it; what it does is shown."""
    from nstjax.cli.terminal import Terminal
    from nstjax.system.compilation_cache import cached

    with Terminal(quiet=arguments.quiet) as terminal, cached(arguments.compilation_cache, terminal.warning):
        yield terminal


def _run(arguments: argparse.Namespace) -> int:
    from nstjax import images
    from nstjax.experiment.experiment import load
    from nstjax.experiment.inputs import prepare
    from nstjax.storage.run_folder import RunFolder

    if arguments.save:
        images.check_output(arguments.save)
        given = (arguments.content, arguments.style, *arguments.blend, arguments.content_mask, *arguments.style_masks)
        if Path(arguments.save).resolve() in {Path(it).resolve() for it in given if it}:
            raise UserError(f"--save {arguments.save} would write over a picture of the run: choose another name")
    experiment = load(arguments.experiment or arguments.preset).replace(**options.settings(arguments))
    limit = {} if arguments.pixel_limit is None else {"pixel_limit": arguments.pixel_limit}
    styles = [arguments.style, *arguments.blend]
    inputs = prepare(arguments.content, styles, experiment.config, **_masks(arguments), **limit)
    if arguments.out:
        RunFolder(arguments.out).check_new()

    # JAX is started only now that everything that can be wrong without it is known to be right.
    from nstjax.runs import stylize

    with _out(arguments, "-".join(inputs.names)) as out, _started(arguments) as terminal:
        result = stylize.run(experiment, inputs, out=out, listener=terminal)
        return _show(result, arguments, terminal)


def _masks(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"content_mask": arguments.content_mask, "style_masks": arguments.style_masks}


def _out(arguments: argparse.Namespace, name: str) -> AbstractContextManager[Path]:
    """The folder that was asked for, or a new one."""
    from nstjax.storage.run_folder import new_folder

    return nullcontext(Path(arguments.out)) if arguments.out else new_folder(Path("runs"), name)


def _sweep(arguments: argparse.Namespace) -> int:
    from nstjax.experiment.experiment import load
    from nstjax.experiment.inputs import source_name

    experiment = load(arguments.experiment or arguments.preset).replace(**options.settings(arguments))
    contents, styles = [arguments.content, *arguments.more_contents], [arguments.style, *arguments.more_styles]
    name = f"{source_name(arguments.content)}-{source_name(arguments.style)}-sweep"
    place = _place(arguments)
    if place.count > 1 and not arguments.out:
        raise UserError("processes that share a sweep need a folder that all of them see: give --out")

    from nstjax.sweeps import sweep

    with _out(arguments, name) as out, _started(arguments) as terminal:
        result = sweep.sweep(
            contents,
            styles,
            vary=options.varied(arguments),
            paired=arguments.zip,
            blend=arguments.blend,
            **_masks(arguments),
            experiment=experiment,
            out=out,
            group_size=arguments.group_size,
            place=place,
            listener=terminal,
        )
        return _show_sweep(result, terminal)


def _show_sweep(result: "SweepResult", terminal: "Terminal") -> int:
    """Say where the results are, and how to go on where there is more to do."""
    if result.finished:
        print(f"page: {result.folder}/report.html")
    print(f"sweep: {result.folder}")
    if not result.finished and terminal.signal is not None:
        print(f"nstjax: stopped; to go on: nstjax resume {shlex.quote(str(result.folder))}", file=sys.stderr)
        return 128 + terminal.signal
    return 1 if any(it is not None and it.diverged for it in result.members) else 0


def _resume(arguments: argparse.Namespace) -> int:
    from nstjax import images
    from nstjax.experiment.record import extended
    from nstjax.storage.run_folder import RunFolder
    from nstjax.storage.sweep_folder import SweepFolder

    if SweepFolder(arguments.folder).exists():
        return _resume_sweep(arguments)
    if arguments.save:
        images.check_output(arguments.save)
    run = RunFolder(arguments.folder).read_record()
    if arguments.steps is not None:
        extended(run, arguments.steps)

    # As above.
    from nstjax.runs import stylize

    with _started(arguments) as terminal:
        result = stylize.resume(arguments.folder, steps=arguments.steps, listener=terminal)
        return _show(result, arguments, terminal)


def _resume_sweep(arguments: argparse.Namespace) -> int:
    if arguments.save:
        raise UserError("a sweep has many results: --save is for a run's")

    from nstjax.sweeps import sweep

    with _started(arguments) as terminal:
        place = _place(arguments)
        result = sweep.resume(arguments.folder, steps=arguments.steps, place=place, listener=terminal)
        return _show_sweep(result, terminal)


def _show(result: "Result", arguments: argparse.Namespace, terminal: "Terminal") -> int:
    """Say where the result is, and how to go on where there is more to do."""
    assert result.folder is not None
    if arguments.save:
        result.save(arguments.save)
    print(f"picture: {arguments.save or result.folder / 'output.png'}")
    print(f"run: {result.folder}")
    steps = result.record["config"]["steps"]
    if result.steps < steps and terminal.signal is not None:
        made = f"stopped after {result.steps:,} of {steps:,} steps"
        print(f"nstjax: {made}; to go on: nstjax resume {shlex.quote(str(result.folder))}", file=sys.stderr)
        return 128 + terminal.signal
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from nstjax.storage import status
    from nstjax.storage.run_folder import RunFolder
    from nstjax.storage.sweep_folder import SweepFolder

    sweep = SweepFolder(arguments.folder)
    if sweep.exists():
        print("\n".join(status.sweep_lines(sweep)))
        return 0
    folder = RunFolder(arguments.folder)
    print("\n".join(status.lines(status.of(folder), folder)))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from nstjax import report
    from nstjax.storage.run_folder import RunFolder
    from nstjax.storage.sweep_folder import SweepFolder

    sweep = SweepFolder(arguments.folder)

    def warn(line: str) -> None:
        print(f"nstjax: warning: {line}", file=sys.stderr)

    print(report.write_sweep(sweep, warn) if sweep.exists() else report.write(RunFolder(arguments.folder), warn))
    return 0
