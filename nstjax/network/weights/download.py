"""Fetching a published file into the user's cache: checked before it is used, and nothing left half-written."""

import http.client
import os
import queue
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nstjax.errors import UserError
from nstjax.network.weights import manifest, packaged, readers
from nstjax.network.weights.conversion import convert
from nstjax.network.weights.files import SUFFIX, about, write
from nstjax.network.weights.manifest import Source
from nstjax.system.files import user_cache

Progress = Callable[[int, int | None], object]
"""Called with the bytes that have come and, where it is known, the bytes to come in all."""

TIMEOUT = 8.0
"""Seconds until a connection must stand, and that a download may pause."""

_CHUNK = 1 << 18


class Unreachable(UserError):
    """The server that publishes some weights gives no answer.

    Args:
        what: what happened.
        mend: how to get the weights all the same.
    """

    def __init__(self, what: str, mend: str):
        super().__init__(f"{what}: {mend}")
        self.what = what


def cache_folder() -> Path:
    """Return the folder in which fetched and converted weights are kept: weights/ in the user's cache."""
    return user_cache() / "weights"


def fetch(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> Path:
    """Downloads a source of the manifest, checks and converts it.

    Args:
        folder: where the converted file goes; by default ``cache_folder()``.
        progress: see ``Progress``.
        timeout: seconds for the connection to stand, all in all; by default ``TIMEOUT``.

    Returns:
        The converted file, NAME.safetensors in the folder; of a source inside a package, the package's file.

    Raises:
        Unreachable: there is no network.
        UserError: no such source, a package that is not installed, an HTTP error, a download cut short or with another
            checksum, kernels that are not the flavour's, or a folder that cannot be written. Nothing is left behind.
    """
    source = manifest.source(name)
    if source.package:
        return packaged.require(source)
    with about(name):
        readers.require_reader(Path(source.file_name).suffix)  # before a download of hundreds of megabytes
    folder = Path(folder) if folder else cache_folder()
    target = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as temporary:
            original = Path(temporary) / source.file_name
            _download(source, original, progress, timeout or TIMEOUT)
            if source.checksum and not source.matches(original):
                raise UserError(
                    f"what {source.address} sent does not have the checksum {source.checksum}: damaged on the way, or "
                    "replaced there; try again or take another source"
                )
            write(target, convert(original, origin=source))
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}): {name} needs {source.megabytes} MB while it is "
            "downloaded and 80 MB thereafter"
        ) from error
    return target


def _download(source: Source, path: Path, progress: Progress | None, timeout: float) -> None:
    try:
        response = _connect(source.address, timeout)
    except urllib.error.HTTPError as error:
        error.close()  # it is a response, too
        raise UserError(f"{source.address} answered {error.code} {error.reason}: take another source") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(f"no way to {source.name}'s weights ({reason})", _by_hand(source)) from error
    with response, path.open("wb") as file:
        length = response.headers["Content-Length"]
        total, done = int(length) if length else None, 0
        while chunk := _read(response, source):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if total is not None and done < total:
        raise UserError(f"the download of {source.name} ended after {done} of {total} bytes: try again")


def _connect(address: str, timeout: float) -> Any:
    """The response, or what went wrong, within ``timeout`` seconds in all.

    urlopen's own timeout counts neither the look-up of the name nor what several addresses add up to, so it runs in a
    thread that is left behind when the time is over.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            request = urllib.request.Request(address, headers={"User-Agent": "nstjax"})
            answers.put(urllib.request.urlopen(request, timeout=max(timeout, TIMEOUT)))
        except Exception as error:  # handed to the thread that waits
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout:g} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _read(response: Any, source: Source) -> bytes:
    # Apart from the writing, whose OSErrors mean the disk and not the network.
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"the download of {source.name} broke off ({error}): try again") from error


def _by_hand(source: Source) -> str:
    flavour = "" if source.checksum else f" --flavour {source.flavour}"
    return f"download {source.address} on another machine, then nstjax weights convert {source.file_name}{flavour}"
