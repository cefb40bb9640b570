"""The command line: arguments to a config, a config to a loop.

Exit codes: 0 done; 1 something went wrong; 2 the user's mistake; 130 and 143 stopped by a signal. What went wrong is
one line on stderr.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nstjax import options
from nstjax.errors import Failure, UserError

if TYPE_CHECKING:
    from nstjax.loop import Result
    from nstjax.terminal import Terminal


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        arguments, unknown = _parser().parse_known_args(argv)
        if unknown:
            raise UserError(f"unknown argument {unknown[0]}: nstjax {arguments.verb} --help lists those there are")
        return arguments.command(arguments)
    except UserError as error:
        print(f"nstjax: {error}", file=sys.stderr)
        return 2
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

    run = commands.add_parser("run", help="draw the content of one picture in the style of another", allow_abbrev=False)
    run.add_argument("content", help="picture file, or example:NAME")
    run.add_argument("style", help="picture file, or example:NAME")
    what = run.add_mutually_exclusive_group()
    what.add_argument(
        "--preset", default="default", metavar="NAME", help="experiment that comes with nstjax; see presets"
    )
    what.add_argument("--experiment", metavar="FILE", help="Python file that defines config and terms(config)")
    run.add_argument("--out", metavar="DIR", help="folder of the run; by default runs/CONTENT-STYLE-N")
    _add_output(run)
    run.add_argument("--pixel-limit", type=int, metavar="N", help="refuse pictures with more pixels than this")
    options.add(run)
    run.set_defaults(command=_run)

    resume = commands.add_parser(
        "resume", help="go on with a run from its newest checkpoint, as if nothing had happened", allow_abbrev=False
    )
    _add_folder(resume)
    resume.add_argument("--steps", type=int, metavar="TOTAL", help="extend the run to so many steps in all")
    _add_output(resume)
    resume.set_defaults(command=_resume)

    status = commands.add_parser("status", help="how far a run is")
    _add_folder(status)
    status.set_defaults(command=_status)

    report = commands.add_parser("report", help="draw a run's sheet, curves and page, as far as it is")
    _add_folder(report)
    report.set_defaults(command=_report)

    presets = commands.add_parser("presets", help="list the experiments that come with nstjax")
    presets.set_defaults(command=_presets)

    devices = commands.add_parser("devices", help="print what JAX sees")
    devices.set_defaults(command=_devices)

    weights = commands.add_parser("weights", help="VGG19's weights: list, fetch, convert, verify, path")
    kinds = weights.add_subparsers(required=True, metavar="ACTION", parser_class=_Parser)
    kinds.add_parser("list", help="where they are published, and which are here").set_defaults(command=_weights_list)
    fetch = kinds.add_parser("fetch", help="download, check and convert")
    fetch.add_argument("name", metavar="NAME")
    fetch.set_defaults(command=_weights_fetch)
    convert = kinds.add_parser("convert", help="turn a published file into one of nstjax's own")
    convert.add_argument("file", metavar="FILE", help=".h5 .mat .npz .safetensors .pth")
    convert.add_argument("--flavour", metavar="caffe|torchvision", help="where the file does not tell")
    convert.add_argument("--out", metavar="FILE", help="file to write; by default in the cache")
    convert.set_defaults(command=_weights_convert)
    verify = kinds.add_parser("verify", help="check one of nstjax's own files")
    verify.add_argument("file", metavar="FILE")
    verify.set_defaults(command=_weights_verify)
    kinds.add_parser("path", help="print the cache's folder").set_defaults(command=_weights_path)
    return parser


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="of the run, as nstjax run has printed it")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="FILE", help="write the result here too: .png .jpg .webp .tiff")
    parser.add_argument("--quiet", action="store_true", help="no progress, only warnings and where the picture is")


def _run(arguments: argparse.Namespace) -> int:
    from nstjax import images
    from nstjax.experiment import load
    from nstjax.inputs import prepare
    from nstjax.rundir import RunFolder, free_name

    if arguments.save:
        images.check_output(arguments.save)
        if Path(arguments.save).resolve() in {Path(it).resolve() for it in (arguments.content, arguments.style)}:
            raise UserError(f"--save {arguments.save} would write over a picture of the run: choose another name")
    experiment = load(arguments.experiment or arguments.preset).replace(**options.settings(arguments))
    limit = {} if arguments.pixel_limit is None else {"pixel_limit": arguments.pixel_limit}
    inputs = prepare(arguments.content, arguments.style, experiment.config, **limit)
    out = Path(arguments.out) if arguments.out else free_name(Path("runs"), "-".join(inputs.names))
    RunFolder(out).check_new()

    # JAX is started only now that everything that can be wrong without it is known to be right.
    from nstjax import loop
    from nstjax.terminal import Terminal

    with Terminal(quiet=arguments.quiet) as terminal:
        result = loop.run(experiment, inputs, out=out, listener=terminal)
        return _show(result, arguments, terminal)


def _resume(arguments: argparse.Namespace) -> int:
    from nstjax import images
    from nstjax.record import extended
    from nstjax.rundir import RunFolder

    if arguments.save:
        images.check_output(arguments.save)
    run = RunFolder(arguments.folder).read_record()
    if arguments.steps is not None:
        extended(run, arguments.steps)

    # As above.
    from nstjax import loop
    from nstjax.terminal import Terminal

    with Terminal(quiet=arguments.quiet) as terminal:
        result = loop.resume(arguments.folder, steps=arguments.steps, listener=terminal)
        return _show(result, arguments, terminal)


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
        print(f"nstjax: {made}; to go on: nstjax resume {result.folder}", file=sys.stderr)
        return 128 + terminal.signal
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from nstjax import status
    from nstjax.rundir import RunFolder

    folder = RunFolder(arguments.folder)
    print("\n".join(status.lines(status.of(folder), folder)))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from nstjax import report
    from nstjax.rundir import RunFolder

    print(report.write(RunFolder(arguments.folder)))
    return 0


def _presets(arguments: argparse.Namespace) -> int:
    from nstjax.experiment import load, presets

    found = {name: load(path) for name, path in presets().items()}
    width = max(map(len, found))
    for name, experiment in found.items():
        print(f"{name:{width}}  {experiment.summary}")
    return 0


def _devices(arguments: argparse.Namespace) -> int:
    from nstjax import device

    print("\n".join(device.lines()))
    return 0


def _weights_list(arguments: argparse.Namespace) -> int:
    from nstjax import weights

    for listed in weights.listing():
        it = listed.source
        print(f"{it.name}: {it.description}")
        print(f"    {it.megabytes} MB, flavour {it.flavour}, licence {it.license}")
        print(f"    {it.address}")
        print(f"    {f'here: {listed.path}' if listed.path else f'not here: nstjax weights fetch {it.name}'}")
    return 0


def _weights_fetch(arguments: argparse.Namespace) -> int:
    from nstjax import weights
    from nstjax.terminal import Terminal

    with Terminal(quiet=False) as terminal:
        path = weights.fetch(arguments.name, progress=terminal.fetching)
    print(path)
    return 0


def _weights_convert(arguments: argparse.Namespace) -> int:
    from nstjax import weights

    print(weights.convert_file(arguments.file, flavour=arguments.flavour, out=arguments.out))
    return 0


def _weights_verify(arguments: argparse.Namespace) -> int:
    from nstjax import weights

    it = weights.verify(arguments.file)
    print(f"{it.path}: {it.status}")
    print(f"    flavour {it.flavour}, {it.layers[0]} to {it.layers[-1]}, licence {it.license}")
    print(f"    from {it.source}")
    print(f"    sha256 of the content {it.sha256}")
    return 0


def _weights_path(arguments: argparse.Namespace) -> int:
    from nstjax import weights

    print(weights.cache_folder())
    return 0
