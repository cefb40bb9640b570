"""Download of a published file into the user's cache: checked before it is used, and never left half-written."""

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
from nstjax.network.weights.files import SUFFIX, prefix_errors, write
from nstjax.network.weights.manifest import Source
from nstjax.system.files import user_cache_path

Progress = Callable[[int, int | None], object]
"""Callback that receives the bytes downloaded so far and the bytes in all; None if the server does not say."""

TIMEOUT = 8.0
"""Seconds that a connection may take, and that a download may pause."""

_CHUNK = 1 << 18


class Unreachable(UserError):
    """An error for a server of weights that does not answer.

    Args:
        reason: what happened.
        remedy: another way to get the weights.
    """

    def __init__(self, reason: str, remedy: str):
        super().__init__(f"{reason}: {remedy}")
        self.reason = reason


def cache_folder() -> Path:
    """Return the folder in which fetched and converted weights are kept: weights/ in the user's cache."""
    return user_cache_path() / "weights"


def fetch(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> Path:
    """Download, check and convert the weights of a source.

    Args:
        name: of the source, as the manifest has it.
        folder: folder of the converted file; by default ``cache_folder()``.
        progress: receives the progress of the download.
        timeout: seconds that the connection may take in all; by default ``TIMEOUT``.

    Returns:
        The path of the converted file, NAME.safetensors in the folder. For a source inside a package, the path of the
        package's file.

    Raises:
        Unreachable: there is no network.
        UserError: no such source, a package that is not installed, an HTTP error, a download cut short or with another
            checksum, kernels that are not the flavour's, or a folder that cannot be written. Nothing is left behind.
    """
    source = manifest.find_source(name)
    if source.package:
        return packaged.require(source)
    with prefix_errors(name):
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
                    f"the file from {source.address} does not have the checksum {source.checksum}: it was damaged on "
                    "the way, or replaced on the server; try again or use another source"
                )
            write(target, convert(original, origin=source))
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}): {name} needs {source.megabytes} MB while it is "
            "downloaded and 80 MB afterwards"
        ) from error
    return target


def _download(source: Source, path: Path, progress: Progress | None, timeout: float) -> None:
    try:
        response = _connect(source.address, timeout)
    except urllib.error.HTTPError as error:
        error.close()  # an HTTPError is an open response
        raise UserError(f"{source.address} answered {error.code} {error.reason}: use another source") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(
            f"no connection to {source.name}'s weights ({reason})", _describe_manual_way(source)
        ) from error
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
    """Return the server's response, or raise an error within ``timeout`` seconds.

    The timeout of urlopen covers neither the look-up of the name nor the sum over several addresses, so it runs in a
    thread that is abandoned when the time is over.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def connect() -> None:
        try:
            request = urllib.request.Request(address, headers={"User-Agent": "nstjax"})
            answers.put(urllib.request.urlopen(request, timeout=max(timeout, TIMEOUT)))
        except Exception as error:  # raised again in the thread that waits
            answers.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout:g} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _read(response: Any, source: Source) -> bytes:
    # Separate from the writing: there an OSError means the disk, here the network.
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"the download of {source.name} broke off ({error}): try again") from error


def _describe_manual_way(source: Source) -> str:
    flavour = "" if source.checksum else f" --flavour {source.flavour}"
    return f"download {source.address} on another machine, then nstjax weights convert {source.file_name}{flavour}"
