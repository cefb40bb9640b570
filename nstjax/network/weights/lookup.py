"""The choice of a run's weights: the meaning of ``--weights``."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nstjax.errors import UserError
from nstjax.network.weights import fingerprints, manifest, packaged
from nstjax.network.weights.download import Progress, Unreachable, cache_folder, fetch
from nstjax.network.weights.files import SUFFIX, Weights, prefix_errors, read
from nstjax.network.weights.manifest import Source

Notice = Callable[[str], object]
"""Callback that receives one line for the user."""

AUTO_TIMEOUT = 3.0
"""Seconds that "auto" waits for a connection, so that a run on a machine without network begins soon."""


class NoWeights(UserError):
    """An error for "auto" without any weights; the line says why, and how to get them."""


@dataclass(frozen=True)
class Choice:
    """Weights, and the reason for their choice, for the user and for the record of a run."""

    weights: Weights
    reason: str


def find(source: str = "auto", *, layers: Iterable[str] | None = None, on_notice: Notice = print) -> Weights:
    """Return the weights that ``source`` stands for, as ``choose`` does, without the reason."""
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

    - "auto": the first of these that has all the layers. (1) The converted files in ``$NSTJAX_WEIGHTS``, a file or a
      folder; if it is set, nothing else is tried. (2) The converted files in the folder ./weights, then in the cache;
      within a folder, the manifest's sources in its order, then any other .safetensors by name. (3) The manifest's
      first source, fetched unless ``$NSTJAX_OFFLINE`` is set. (4) A source inside an installed Python package.
    - a name in the manifest: that source's converted file in the same folders, or its package's file, or else fetched.
    - anything else: the file of that path.

    Args:
        source: "auto", a name, or a path.
        layers: the layers needed, in any form that ``architecture.parse_layer`` accepts; None means the whole network.
        on_notice: receives a line for each file passed over, for a download that begins, and for the weights that
            "auto" takes without a network.
        progress: receives the progress of a download.
        timeout: seconds after which an attempt without network is given up; by default 3 for "auto", 8 for a name.

    Raises:
        NoWeights: "auto" found none and could not fetch any.
        UserError: the weights of a name, a path or ``$NSTJAX_WEIGHTS`` are missing, damaged, not what the name says, or
            lack one of the layers.
    """
    needed = None if layers is None else tuple(layers)
    if source == "auto":
        return _choose_automatically(needed, on_notice, progress, timeout or AUTO_TIMEOUT)
    if source in manifest.load_sources():
        weights = _read_named(manifest.find_source(source), needed, on_notice, progress, timeout)
        return Choice(weights, "asked for by name")
    if not Path(source).exists():
        names = ", ".join(manifest.load_sources())
        raise UserError(f"no file of weights {source!r}: expected a file, auto, or a source's name ({names})")
    return Choice(_read(Path(source), needed), "asked for by its file")


def list_folders() -> list[Path]:
    """List the folders that are searched for converted files, first to last."""
    named = os.environ.get("NSTJAX_WEIGHTS")
    return [*([Path(named)] if named and Path(named).is_dir() else []), Path("weights"), cache_folder()]


def locate(source: Source) -> Path | None:
    """Return the path of a source's weights, converted or inside a package; None if they are not on this machine."""
    converted = (path for folder in list_folders() if (path := folder / f"{source.name}{SUFFIX}").is_file())
    return next(converted, packaged.locate(source) if source.package else None)


def _choose_automatically(
    layers: tuple[str, ...] | None, on_notice: Notice, progress: Progress | None, timeout: float
) -> Choice:
    if named := os.environ.get("NSTJAX_WEIGHTS"):
        with prefix_errors("$NSTJAX_WEIGHTS"):
            return Choice(_read_from_environment(Path(named), layers, on_notice), "named by $NSTJAX_WEIGHTS")
    if weights := _read_first_usable(list_folders(), layers, on_notice):
        return Choice(weights, "the first converted file that has the layers")
    first = next(iter(manifest.load_sources().values()))
    try:
        path = _fetch(first.name, on_notice, progress, timeout)
    except UserError as error:
        # The network's error differs from time to time, so it is shown and not recorded.
        reason = f"there is no converted file, and {first.name} could not be fetched"
        message = f"no converted weights in ./weights or {cache_folder()}, and {error}"
        return Choice(_read_installed(layers, error, message, on_notice), reason)
    return Choice(_read(path, layers), "there was no converted file, and this one could be fetched")


def _read_installed(layers: tuple[str, ...] | None, error: UserError, message: str, on_notice: Notice) -> Weights:
    """Return the weights of the first packaged source that has the layers."""
    for source in (source for source in manifest.load_sources().values() if source.package):
        try:
            weights = _read_packaged(source, layers)
        except UserError as other:
            message += f"; {other}"
            continue
        reason = error.reason if isinstance(error, Unreachable) else str(error)
        on_notice(f"weights: {source.network} from {source.package}, since there is no converted file and {reason}")
        return weights
    raise NoWeights(message) from error


def _read_from_environment(path: Path, layers: tuple[str, ...] | None, on_notice: Notice) -> Weights:
    if not path.is_dir():
        return _read(path, layers)
    if weights := _read_first_usable([path], layers, on_notice):
        return weights
    raise UserError(f"the folder {path} holds no weights that have {', '.join(layers or ('the whole network',))}")


def _read_named(
    source: Source, layers: tuple[str, ...] | None, on_notice: Notice, progress: Progress | None, timeout: float | None
) -> Weights:
    path = locate(source)
    if source.package and (path is None or path.suffix != SUFFIX):
        return _read_packaged(source, layers)
    path = path or _fetch(source.name, on_notice, progress, timeout)
    weights = _read(path, layers)
    with prefix_errors(path):
        if (weights.flavour.name, weights.architecture.name) != (source.flavour, source.network):
            raise UserError(
                f"its flavour is {weights.flavour.name}, of {weights.architecture.name}, but {source.name} is "
                f"{source.flavour}, of {source.network}"
            )
        fingerprints.check(weights.parameters, weights.flavour.name, architecture=weights.architecture)
    return weights


def _read(path: Path, layers: tuple[str, ...] | None) -> Weights:
    """Return the weights in a file; raise if they lack one of the layers."""
    weights = read(path)
    with prefix_errors(path):
        weights.require(layers)
    return weights


def _read_packaged(source: Source, layers: tuple[str, ...] | None) -> Weights:
    """Return the weights in a package; raise if they lack one of the layers."""
    weights = packaged.read(source)
    with prefix_errors(source.name):
        weights.require(layers)
    return weights


def _list_candidates(folder: Path) -> list[Path]:
    rank = {name: position for position, name in enumerate(manifest.load_sources())}
    files = [path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")]
    return sorted(files, key=lambda path: (rank.get(path.stem, len(rank)), path.name))


def _read_first_usable(folders: Iterable[Path], layers: tuple[str, ...] | None, on_notice: Notice) -> Weights | None:
    for path in (path for folder in folders for path in _list_candidates(folder)):
        try:
            return _read(path, layers)
        except UserError as error:
            on_notice(f"passed over: {error}")
    return None


def _fetch(name: str, on_notice: Notice, progress: Progress | None, timeout: float | None) -> Path:
    if os.environ.get("NSTJAX_OFFLINE"):
        raise UserError(f"NSTJAX_OFFLINE is set, so {name} is not fetched (nstjax weights fetch {name})")
    source = manifest.find_source(name)
    on_notice(f"fetching {name}'s {source.network} weights, {source.megabytes} MB, into {cache_folder()}")
    return fetch(name, progress=progress, timeout=timeout)
