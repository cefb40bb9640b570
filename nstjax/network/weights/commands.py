"""What ``nstjax weights list | convert | verify`` do, as functions that return data."""

import os
from dataclasses import dataclass
from pathlib import Path

from nstjax.errors import UserError
from nstjax.network.weights import fingerprints, manifest
from nstjax.network.weights.conversion import convert
from nstjax.network.weights.download import cache_folder
from nstjax.network.weights.files import SUFFIX, about, read, write
from nstjax.network.weights.lookup import present


@dataclass(frozen=True)
class Listed:
    """A source of the manifest, and where its weights lie already."""

    source: manifest.Source
    path: Path | None


@dataclass(frozen=True)
class Verified:
    """What is known of one of nstjax's own files."""

    path: Path
    network: str
    flavour: str
    layers: tuple[str, ...]
    source: str
    license: str
    sha256: str  # of the content, as a run records it
    status: str  # one line: what was checked


def listing() -> list[Listed]:
    """Every source, in the manifest's order."""
    return [Listed(source, present(source)) for source in manifest.sources().values()]


def convert_file(
    path: str | os.PathLike[str], *, flavour: str | None = None, out: str | os.PathLike[str] | None = None
) -> Path:
    """Converts a published file into one of nstjax's own.

    Args:
        flavour: see ``conversion.convert``.
        out: the file to write; by default in the cache, named after the source that the file's checksum tells, or else
            after the file itself.

    Returns:
        The file written.

    Raises:
        UserError: see ``conversion.convert``; or it cannot be written.
    """
    path = Path(path)
    weights = convert(path, flavour=flavour)
    origin = manifest.recognise(path)
    target = Path(out) if out else cache_folder() / f"{origin.name if origin else path.stem}{SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, weights)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def verify(path: str | os.PathLike[str]) -> Verified:
    """Reads one of nstjax's own files and holds it to what is known of its flavour.

    Raises:
        UserError: see ``files.read`` and ``fingerprints.check``.
    """
    weights = read(path)
    with about(path):
        status = fingerprints.check(weights.parameters, weights.flavour.name, architecture=weights.architecture)
    return Verified(
        Path(path),
        weights.architecture.name,
        weights.flavour.name,
        tuple(weights.parameters),
        weights.source,
        weights.license,
        weights.sha256,
        status,
    )
