"""Mistakes in experiments' files: checks of what a file defines, and errors of its code as one line with its place."""

import ast
import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.modules import Modules
from nstjax.network.architecture import FLAVOURS
from nstjax.system import signals
from nstjax.system.functions import describe_function


def locate(path: Path, source: str, name: str) -> str:
    """Return the path of an experiment's file and the line at which it last gives a name a value, for messages."""
    lines = [
        statement.lineno
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in ast.walk(statement)
        if isinstance(target, ast.Name) and target.id == name and isinstance(target.ctx, ast.Store)
    ]
    return f"{path}, line {lines[-1]}," if lines else str(path)


def check_flavours(flavours: Any, config: Config, where: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the flavours that a file defines, after checks."""
    if not isinstance(flavours, Mapping) or not all(isinstance(settings, Mapping) for settings in flavours.values()):
        expected = "{flavour: {setting: value}}"
        raise UserError(f"the experiment {where} must define flavours as {expected}, not {_shorten(flavours)}")
    for flavour, settings in flavours.items():
        if flavour not in FLAVOURS:
            expected = ", ".join(FLAVOURS)
            raise UserError(f"the experiment {where} has a flavour {flavour!r}: expected one of {expected}")
        entry = f"the experiment {where} has settings for {flavour} weights"
        try:
            config.replace(**settings)
        except UserError as error:
            raise UserError(f"{entry} that it cannot have: {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{entry} that it cannot have: {_shorten(settings)} ({error})") from error
    return flavours


def check_flavour(flavour: Any, where: str) -> str | None:
    """Return the flavour that a file's settings are meant for, after a check; None stands for any."""
    if flavour is not None and (not isinstance(flavour, str) or flavour not in FLAVOURS):
        expected = ", ".join(FLAVOURS)
        raise UserError(f"the experiment {where} must define flavour as one of {expected}, not {_shorten(flavour)}")
    return flavour


def check_version(version: Any, where: str) -> int | float | str:
    """Return the version that a file defines, after a check: it goes into the record."""
    if type(version) not in (int, str) and not (type(version) is float and math.isfinite(version)):
        raise UserError(f"the experiment {where} must define version as a number or a text, not {_shorten(version)}")
    return version


def _shorten(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}…"


@contextlib.contextmanager
def error_context(path: Path, *, modules: Modules | None = None, terms: Any = None) -> Iterator[None]:
    """Turn an error raised by an experiment's code into one line that says where and why.

    Args:
        path: path of the experiment's file.
        modules: its modules, once they are known.
        terms: its function ``terms``, once it is known.

    Raises:
        UserError: replaces any other error that left these files, or was raised in a term.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        files = [str(path), *(modules.paths if modules else ())]
        message = _describe_failure(error, files, terms)
        if message is None:
            raise
        raise UserError(message) from error


def _describe_failure(error: BaseException, files: list[str], terms: Any) -> str | None:
    """Return one line that says where an experiment failed, in which term, and why; None if the fault is not its own.

    Args:
        error: the error.
        files: the experiment's file, and its modules.
        terms: its function ``terms``.
    """
    frames = _list_frames(error)
    if isinstance(error, SystemExit) and frames[-1][0] == signals.__file__:
        return None  # a signal that came while the experiment's code ran
    places = [place for place in frames if place[0] in files]
    if isinstance(error, SyntaxError) and (error.filename in files or not places):
        places = [(error.filename or files[0], error.lineno or 0)]
    notes: list[str] = getattr(error, "__notes__", [])
    term = "".join(f", {note}" for note in notes if note.startswith("in the term"))
    if places:
        where = f"{places[-1][0]} fails at line {places[-1][1]}"
    elif term and not isinstance(error, UserError):  # a function of this package was given what it cannot take
        where = f"{files[0]} fails in {describe_function(terms)}"
    else:
        return None
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    reason = text.strip().split("\n")[0]
    if not isinstance(error, UserError):
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    advice = "".join(f"; {note}" for note in notes if note.startswith("is nstjax."))
    return f"the experiment {where}{term}: {reason}{advice}"


def _list_frames(error: BaseException) -> list[tuple[str, int]]:
    """Return (file, line) of each frame that an error has left, the innermost last."""
    trace, frames = error.__traceback__, []
    while trace:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return frames
