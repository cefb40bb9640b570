"""The actions list, convert and verify of ``nstjax weights``, as functions that return data."""

import os
from dataclasses import dataclass
from pathlib import Path

from nstjax.errors import UserError
from nstjax.network.weights import fingerprints, manifest
from nstjax.network.weights.conversion import convert
from nstjax.network.weights.download import cache_folder
from nstjax.network.weights.files import SUFFIX, prefix_errors, read, write
from nstjax.network.weights.lookup import locate
from nstjax.system.files import check_length, join_names


@dataclass(frozen=True)
class ListedSource:
    """A source in the manifest, and the path of its weights; None if they are not on this machine."""

    source: manifest.Source
    path: Path | None


@dataclass(frozen=True)
class VerifiedFile:
    """The contents of a file of converted weights, and what was checked."""

    path: Path
    network: str
    flavour: str
    layers: tuple[str, ...]
    source: str
    license: str
    sha256: str  # of the content, as a run records it
    status: str  # one line: what was checked


def list_sources() -> list[ListedSource]:
    """List every source, in the manifest's order."""
    return [ListedSource(source, locate(source)) for source in manifest.load_sources().values()]


def convert_file(
    path: str | os.PathLike[str], *, flavour: str | None = None, out: str | os.PathLike[str] | None = None
) -> Path:
    """Convert a published file of weights.

    Args:
        path: the published file.
        flavour: as in ``conversion.convert``.
        out: the converted file to write; by default in the cache, named after the source that has the file's checksum,
            or after the file if no source has it.

    Returns:
        The path of the converted file.

    Raises:
        UserError: as ``conversion.convert``, or the converted file cannot be written.
    """
    path = Path(path)
    if out:
        _check_target(Path(out), path)
    weights = convert(path, flavour=flavour)
    origin = manifest.recognise(path)
    target = Path(out) if out else cache_folder() / f"{origin.name if origin else join_names([path.stem], '')}{SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, weights)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def _check_target(target: Path, source: Path) -> None:
    """Raise if a converted file cannot or must not be written to a path."""
    check_length(target)
    if target.suffix != SUFFIX:
        raise UserError(f"a converted file ends in {SUFFIX}, but --out is {target}")
    if target.exists():
        if target.samefile(source):
            raise UserError(f"--out {target} would write over the file that is converted: choose another name")
        try:
            read(target)
        except UserError:
            raise UserError(f"{target} exists, and is not a converted file: choose another --out") from None


def verify(path: str | os.PathLike[str]) -> VerifiedFile:
    """Read a file of converted weights and check them against what is known of their flavour.

    Raises:
        UserError: as ``files.read`` and ``fingerprints.check``.
    """
    weights = read(path)
    with prefix_errors(path):
        status = fingerprints.check(weights.parameters, weights.flavour.name, architecture=weights.architecture)
    return VerifiedFile(
        Path(path),
        weights.architecture.name,
        weights.flavour.name,
        tuple(weights.parameters),
        weights.source,
        weights.license,
        weights.sha256,
        status,
    )
