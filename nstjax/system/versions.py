"""The versions of installed packages."""

from importlib import metadata


def read_version(package: str) -> str:
    """Return the version of a package; "not installed" for one that runs from its source folder alone."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
