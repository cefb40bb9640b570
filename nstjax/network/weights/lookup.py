"""Which weights a run gets: what ``--weights`` means."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nstjax.errors import UserError
from nstjax.network.weights import fingerprints, manifest, packaged
from nstjax.network.weights.download import Progress, Unreachable, cache_folder, fetch
from nstjax.network.weights.files import SUFFIX, Weights, about, read
from nstjax.network.weights.manifest import Source

Notice = Callable[[str], object]
"""Called with one line for the user."""

AUTO_TIMEOUT = 3.0
"""Seconds that "auto" waits for a connection: a run on a machine without network should begin soon."""


class NoWeights(UserError):
    """``auto`` has found no weights and could fetch none; says why, and how to get them."""


@dataclass(frozen=True)
class Choice:
    """Weights, and the reason why it is those, for people and for a run's record."""

    weights: Weights
    reason: str


def find(source: str = "auto", *, layers: Iterable[str] | None = None, on_notice: Notice = print) -> Weights:
    """The weights that ``source`` stands for; see ``choose``."""
    return choose(source, layers=layers, on_notice=on_notice).weights


def choose(
    source: str = "auto",
    *,
    layers: Iterable[str] | None = None,
    on_notice: Notice = print,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> Choice:
    """Choose the weights that ``source`` stands for.

    - "auto": the first that has all the layers, of: the converted files in ``$NSTJAX_WEIGHTS`` (a file or a folder, and
      then nothing else), or in the folder ./weights, then the cache (within a folder the manifest's sources in its
      order, then any other .safetensors by name); the manifest's first source, fetched, unless ``$NSTJAX_OFFLINE`` is
      set; a source inside a Python package that is installed.
    - a name in the manifest: that source's converted file from the same folders, or its package's, or else fetched.
    - anything else: that file.

    Args:
        layers: that are needed, in any form that ``architecture.layer`` knows; None means the whole network.
        on_notice: told of files passed over, of a download that begins, and of what "auto" takes without a network.
        progress: told how the download goes.
        timeout: seconds until a try without network is given up; by default 3 for "auto", 8 for a name.

    Raises:
        NoWeights: "auto" found none and could not fetch any.
        UserError: what was asked for by name, by path or by ``$NSTJAX_WEIGHTS`` is not there, damaged, not what its
            name says, or has not all the layers.
    """
    needed = None if layers is None else tuple(layers)
    if source == "auto":
        return _auto(needed, on_notice, progress, timeout or AUTO_TIMEOUT)
    if source in manifest.sources():
        weights = _named(manifest.source(source), needed, on_notice, progress, timeout)
        return Choice(weights, "asked for by name")
    if not Path(source).exists():
        names = ", ".join(manifest.sources())
        raise UserError(f"no file of weights {source!r}: expected a file, auto, or a source's name ({names})")
    return Choice(_read(Path(source), needed), "asked for by its file")


def folders() -> list[Path]:
    """The folders in which converted files are looked for, first to last."""
    named = os.environ.get("NSTJAX_WEIGHTS")
    return [*([Path(named)] if named and Path(named).is_dir() else []), Path("weights"), cache_folder()]


def present(source: Source) -> Path | None:
    """Where the weights of a source lie already, converted or inside a package, if they do."""
    converted = (path for folder in folders() if (path := folder / f"{source.name}{SUFFIX}").is_file())
    return next(converted, packaged.locate(source) if source.package else None)


def _auto(layers: tuple[str, ...] | None, on_notice: Notice, progress: Progress | None, timeout: float) -> Choice:
    if named := os.environ.get("NSTJAX_WEIGHTS"):
        with about("$NSTJAX_WEIGHTS"):
            return Choice(_named_by_environment(Path(named), layers, on_notice), "named by $NSTJAX_WEIGHTS")
    if weights := _first_usable(folders(), layers, on_notice):
        return Choice(weights, "the first converted file that has the layers")
    first = manifest.source(next(iter(manifest.sources())))
    try:
        path = _fetch(first.name, on_notice, progress, timeout)
    except UserError as error:
        # What the network said, which differs from time to time, is for the user and not for the record.
        reason = f"there is no converted file, and {first.name} could not be fetched"
        told = f"no converted weights in ./weights or {cache_folder()}, and {error}"
        return Choice(_installed(layers, error, told, on_notice), reason)
    return Choice(_read(path, layers), "there was no converted file, and this one could be fetched")


def _installed(layers: tuple[str, ...] | None, error: UserError, told: str, on_notice: Notice) -> Weights:
    """The first packaged source that has the layers."""
    for source in (source for source in manifest.sources().values() if source.package):
        try:
            weights = _read_packaged(source, layers)
        except UserError as other:
            told += f"; {other}"
            continue
        brief = error.what if isinstance(error, Unreachable) else str(error)
        on_notice(f"weights: {source.network} from {source.package}, since there is no converted file and {brief}")
        return weights
    raise NoWeights(told) from error


def _named_by_environment(path: Path, layers: tuple[str, ...] | None, on_notice: Notice) -> Weights:
    if not path.is_dir():
        return _read(path, layers)
    if weights := _first_usable([path], layers, on_notice):
        return weights
    raise UserError(f"the folder {path} holds no weights that have {', '.join(layers or ('the whole network',))}")


def _named(
    source: Source, layers: tuple[str, ...] | None, on_notice: Notice, progress: Progress | None, timeout: float | None
) -> Weights:
    path = present(source)
    if source.package and (path is None or path.suffix != SUFFIX):
        return _read_packaged(source, layers)
    path = path or _fetch(source.name, on_notice, progress, timeout)
    weights = _read(path, layers)
    with about(path):
        if (weights.flavour.name, weights.architecture.name) != (source.flavour, source.network):
            raise UserError(
                f"its flavour is {weights.flavour.name}, of {weights.architecture.name}, but {source.name} is "
                f"{source.flavour}, of {source.network}"
            )
        fingerprints.check(weights.parameters, weights.flavour.name, architecture=weights.architecture)
    return weights


def _read(path: Path, layers: tuple[str, ...] | None) -> Weights:
    """The weights of a file, which must have the layers."""
    weights = read(path)
    with about(path):
        weights.require(layers)
    return weights


def _read_packaged(source: Source, layers: tuple[str, ...] | None) -> Weights:
    """The weights of a package, which must have the layers."""
    weights = packaged.read(source)
    with about(source.name):
        weights.require(layers)
    return weights


def _candidates(folder: Path) -> list[Path]:
    rank = {name: place for place, name in enumerate(manifest.sources())}
    files = [path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")]
    return sorted(files, key=lambda path: (rank.get(path.stem, len(rank)), path.name))


def _first_usable(places: Iterable[Path], layers: tuple[str, ...] | None, on_notice: Notice) -> Weights | None:
    for path in (path for folder in places for path in _candidates(folder)):
        try:
            return _read(path, layers)
        except UserError as error:
            on_notice(f"passed over: {error}")
    return None


def _fetch(name: str, on_notice: Notice, progress: Progress | None, timeout: float | None) -> Path:
    if os.environ.get("NSTJAX_OFFLINE"):
        raise UserError(f"NSTJAX_OFFLINE is set, so {name} is not fetched (nstjax weights fetch {name})")
    source = manifest.source(name)
    on_notice(f"fetching {name}'s {source.network} weights, {source.megabytes} MB, into {cache_folder()}")
    return fetch(name, progress=progress, timeout=timeout)
