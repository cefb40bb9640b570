"""The manifest: the sources of published weights, and the fingerprints of VGG19's Caffe weights."""

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from nstjax.errors import UserError

_PACKAGE = Path(__file__).parents[2]
_PATHS = (_PACKAGE / "manifest.toml", _PACKAGE.parent / "weights" / "manifest.toml")  # a wheel's, a clone's


@dataclass(frozen=True)
class Source:
    """A place that publishes the weights of a VGG network."""

    name: str
    address: str
    checksum: str  # "md5:…" or "sha256:…", in hexadecimal, whole or only its beginning; "" if none is published
    megabytes: int
    flavour: str
    license: str
    layout: str
    description: str
    network: str = "VGG19"
    package: str = ""  # the requirement to install, if the address is a file inside a Python package

    @property
    def file_name(self) -> str:
        """The name of the published file; its suffix is the format."""
        return self.address.rsplit("/", 1)[-1]

    def matches(self, path: Path) -> bool:
        """Return whether the file has this source's checksum; False if none is published."""
        algorithm, _, expected = self.checksum.partition(":")
        if not expected:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest().startswith(expected)


@functools.cache
def _load() -> dict:
    path = next(path for path in _PATHS if path.exists())
    return tomllib.loads(path.read_text(encoding="utf-8"))


def load_sources() -> dict[str, Source]:
    """Return {name: source} in the manifest's order; the first source is the default."""
    return {name: Source(name, **entry) for name, entry in _load()["sources"].items()}


def find_source(name: str) -> Source:
    """Return the source of this name.

    Raises:
        UserError: no source has this name.
    """
    sources = load_sources()
    if name not in sources:
        raise UserError(f"no source of weights is called {name!r}: expected one of {', '.join(sources)}")
    return sources[name]


def recognise(path: Path) -> Source | None:
    """Return the source that published this file, by its checksum; None if no source did."""
    same_format = (source for source in load_sources().values() if Path(source.file_name).suffix == path.suffix)
    return next((source for source in same_format if source.matches(path)), None)


def load_caffe_fingerprints() -> dict[str, dict[str, list[float]]]:
    """Return the norms and sums of the trained Caffe weights, {convolution: {"kernel": […], "bias": […]}}."""
    return _load()["fingerprints"]["caffe"]
