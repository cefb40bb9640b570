"""The manifest: where weights of VGG networks are published, and how VGG19's Caffe ones are recognised."""

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from nstjax.errors import UserError

_PACKAGE = Path(__file__).parents[2]
_PLACES = (_PACKAGE / "manifest.toml", _PACKAGE.parent / "weights" / "manifest.toml")  # a wheel's, a clone's


@dataclass(frozen=True)
class Source:
    """One place that publishes the weights of a VGG network."""

    name: str
    address: str
    checksum: str  # "md5:…" or "sha256:…", in hexadecimal, whole or its head; "" where none is published
    megabytes: int
    flavour: str
    license: str
    layout: str
    description: str
    network: str = "VGG19"
    package: str = ""  # the requirement to install, where the address is a file inside a Python package

    @property
    def file_name(self) -> str:
        """The published file's name; its suffix tells the format."""
        return self.address.rsplit("/", 1)[-1]

    def matches(self, path: Path) -> bool:
        """Whether the file has this source's checksum; never so where none is published."""
        algorithm, _, expected = self.checksum.partition(":")
        if not expected:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest().startswith(expected)


@functools.cache
def _manifest() -> dict:
    path = next(place for place in _PLACES if place.exists())
    return tomllib.loads(path.read_text(encoding="utf-8"))


def sources() -> dict[str, Source]:
    """Every source by name, in the manifest's order: the first is the default."""
    return {name: Source(name, **entry) for name, entry in _manifest()["sources"].items()}


def source(name: str) -> Source:
    """The source of that name.

    Raises:
        UserError: there is none.
    """
    if name not in sources():
        raise UserError(f"no source of weights is called {name!r}: expected one of {', '.join(sources())}")
    return sources()[name]


def recognise(path: Path) -> Source | None:
    """The source that published this very file, told by its checksum."""
    same_kind = (it for it in sources().values() if Path(it.file_name).suffix == path.suffix)
    return next((it for it in same_kind if it.matches(path)), None)


def caffe_fingerprints() -> dict[str, dict[str, list[float]]]:
    """{convolution: {"kernel": […], "bias": […]}} of the trained Caffe weights; see ``fingerprints``."""
    return _manifest()["fingerprints"]["caffe"]
