"""Which weights a run gets: what ``--weights`` means."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from nstjax.architecture import CONVOLUTIONS
from nstjax.errors import UserError
from nstjax.weights import fingerprints, manifest
from nstjax.weights.download import TIMEOUT, Progress, cache_folder, fetch
from nstjax.weights.files import SUFFIX, Weights, about, read

Notice = Callable[[str], object]
"""Called with one line for the user."""


class NoWeights(UserError):
    """``auto`` has found no weights and could fetch none; says why, and how to get them."""


def find(
    source: str = "auto",
    *,
    deepest: str = CONVOLUTIONS[-1],
    on_notice: Notice = print,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> Weights:
    """The weights that ``source`` stands for.

    - "auto": the first file that reaches ``deepest``: ``$NSTJAX_WEIGHTS`` (a file or a folder, and then nothing else),
      or the folder ./weights, then the cache; within a folder the manifest's sources in its order, then any other
      .safetensors by name. If there is none, the manifest's first source is fetched, unless ``$NSTJAX_OFFLINE`` is set.
    - a name in the manifest: that source's converted file from the same folders, or else fetched.
    - anything else: that file.

    Args:
        deepest: the deepest layer that is needed, in any form that ``architecture.layer`` knows.
        on_notice: told of files passed over and of a download that begins.
        progress: told how the download goes.
        timeout: seconds until a try without network is given up.

    Raises:
        NoWeights: "auto" found none and could not fetch any.
        UserError: what was asked for by name, by path or by ``$NSTJAX_WEIGHTS`` is not there, damaged, not what its
            name says, or not deep enough.
    """
    if source == "auto":
        return _auto(deepest, on_notice, progress, timeout)
    if source in manifest.sources():
        return _named(source, deepest, on_notice, progress, timeout)
    if not Path(source).exists():
        names = ", ".join(manifest.sources())
        raise UserError(f"no file of weights {source!r}: expected a file, auto, or a source's name ({names})")
    return _deep_enough(Path(source), deepest)


def folders() -> list[Path]:
    """The folders in which converted files are looked for, first to last."""
    own = os.environ.get("NSTJAX_WEIGHTS")
    return [*([Path(own)] if own and Path(own).is_dir() else []), Path("weights"), cache_folder()]


def converted(name: str) -> Path | None:
    """Where the converted file of a source lies already, if it does."""
    return next((path for it in folders() if (path := it / f"{name}{SUFFIX}").is_file()), None)


def _auto(deepest: str, on_notice: Notice, progress: Progress | None, timeout: float) -> Weights:
    if own := os.environ.get("NSTJAX_WEIGHTS"):
        with about("$NSTJAX_WEIGHTS"):
            return _own(Path(own), deepest, on_notice)
    if weights := _first_usable(folders(), deepest, on_notice):
        return weights
    try:
        path = _fetch(next(iter(manifest.sources())), on_notice, progress, timeout)
    except UserError as error:
        raise NoWeights(f"no VGG19 weights in ./weights or {cache_folder()}, and {error}") from error
    return _deep_enough(path, deepest)


def _own(path: Path, deepest: str, on_notice: Notice) -> Weights:
    if not path.is_dir():
        return _deep_enough(path, deepest)
    if weights := _first_usable([path], deepest, on_notice):
        return weights
    raise UserError(f"the folder {path} holds no weights that reach {deepest}")


def _named(name: str, deepest: str, on_notice: Notice, progress: Progress | None, timeout: float) -> Weights:
    path = converted(name) or _fetch(name, on_notice, progress, timeout)
    weights = _deep_enough(path, deepest)
    with about(path):
        expected = manifest.source(name).flavour
        if weights.flavour.name != expected:
            raise UserError(f"its flavour is {weights.flavour.name}, but {name} is {expected}")
        fingerprints.check(weights.parameters, expected)
    return weights


def _deep_enough(path: Path, deepest: str) -> Weights:
    weights = read(path)
    with about(path):
        weights.require(deepest)
    return weights


def _candidates(folder: Path) -> list[Path]:
    rank = {name: place for place, name in enumerate(manifest.sources())}
    files = [path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")]
    return sorted(files, key=lambda path: (rank.get(path.stem, len(rank)), path.name))


def _first_usable(places: Iterable[Path], deepest: str, on_notice: Notice) -> Weights | None:
    for path in (path for folder in places for path in _candidates(folder)):
        try:
            return _deep_enough(path, deepest)
        except UserError as error:
            on_notice(f"passed over: {error}")
    return None


def _fetch(name: str, on_notice: Notice, progress: Progress | None, timeout: float) -> Path:
    if os.environ.get("NSTJAX_OFFLINE"):
        raise UserError(f"NSTJAX_OFFLINE is set, so {name} is not fetched (nstjax weights fetch {name})")
    on_notice(f"fetching {name}'s VGG19 weights, {manifest.source(name).megabytes} MB, into {cache_folder()}")
    return fetch(name, progress=progress, timeout=timeout)
