"""An experiment: a Python file that defines what a run minimises.

The file must define

    config: nstjax.Config                                     settings, which the command line can change
    def terms(config: nstjax.Config) -> Sequence[nstjax.Term | nstjax.PictureTerm]

and the first line of its docstring describes it. It may define

    flavours: dict[str, dict]                                 {flavour of the weights: settings that differ for it}
    version: int                                              changed whenever its results change; 1 by default

A preset is such a file that is included in the package.
"""

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nstjax.arguments import to_text
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.system.files import check_regular

if TYPE_CHECKING:
    from nstjax.types import AnyTerm


@dataclass(frozen=True)
class Experiment:
    """Settings, and the function that builds the terms of the objective from them.

    Args:
        name: name of the preset or of the file.
        config: settings.
        terms: config -> terms; called once, when a run is resolved.
        summary: one line.
        source: text of the file; None for an experiment defined in Python.
        path: path of the file.
        flavours: {flavour of the weights: settings that differ for it}.
        changes: arguments of the calls of ``replace``, in order.
        version: version of the results.
    """

    name: str
    config: Config
    terms: "Callable[[Config], Sequence[AnyTerm]]"
    summary: str = ""
    source: str | None = None
    path: str | None = None
    flavours: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    changes: tuple[Mapping[str, Any], ...] = ()
    version: int = 1

    def replace(self, **settings: Any) -> "Experiment":
        """Return a copy of the experiment with some settings replaced; see ``Config.replace``."""
        return replace(self, config=self.config.replace(**settings), changes=(*self.changes, settings))

    @contextlib.contextmanager
    def error_context(self) -> Iterator[None]:
        """Turn an error raised by the experiment's own code into one line that says where and why.

        Raises:
            UserError: replaces any other error that left the experiment's file.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            line = None if self.path is None else _last_line_in(error, self.path)
            if line is None:
                raise
            raise UserError(_describe_failure(self.path, line, error)) from error

    def config_for(self, flavour: str) -> Config:
        """Return the settings for weights of a flavour; changes by ``replace`` take precedence over the flavour's."""
        config = self.config.replace(**self.flavours.get(flavour, {}))
        for settings in self.changes:
            config = config.replace(**settings)
        return config

    @property
    def sha256(self) -> str | None:
        """Checksum of the file."""
        return None if self.source is None else hashlib.sha256(self.source.encode()).hexdigest()


def _presets_folder() -> Path:
    """Return the presets' folder: in the package if it is installed, in ``experiments/`` in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "experiments" / "presets"


def presets() -> dict[str, Path]:
    """Return {name: file} of every preset."""
    return {path.stem.replace("_", "-"): path for path in sorted(_presets_folder().glob("[a-z]*.py"))}


def load(name_or_path: str | os.PathLike[str]) -> Experiment:
    """Load a preset or an experiment's file.

    Raises:
        UserError: there is no such preset or file, or the file does not define what an experiment must.
    """
    paths = presets()
    name = to_text("experiment", name_or_path)
    path = paths.get(name) or Path(name)
    if name not in paths and path.suffix != ".py":
        raise UserError(f"no preset {name!r}: expected one of {', '.join(paths)}, or the path of a Python file")
    try:
        check_regular(path, "an experiment file")
        source = path.read_text(encoding="utf-8")
    except (UserError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the experiment {path}: {getattr(error, 'strerror', None) or error}") from None
    return _execute(name if name in paths else path.stem, path, source)


def _execute(name: str, path: Path, source: str) -> Experiment:
    # Dataclasses in the module need to find it by name while they are created.
    module_name = f"nstjax_experiment_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_loader(module_name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[module_name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"the experiment {path} fails at line {error.lineno}: SyntaxError: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise UserError(_describe_failure(str(path), _last_line_in(error, str(path)), error)) from error
    config, terms = getattr(module, "config", None), getattr(module, "terms", None)
    if not isinstance(config, Config):
        raise UserError(f"the experiment {path} must define config = nstjax.Config(…)")
    if not callable(terms):
        raise UserError(f"the experiment {path} must define a function terms(config) that returns nstjax.Term objects")
    flavours = getattr(module, "flavours", {})
    for flavour, settings in flavours.items():
        if config.replace(**settings).size != config.size:
            raise UserError(
                f"the experiment {path} asks for another size with {flavour} weights: pictures are resized before "
                "weights are chosen, so only the sizes before the last may differ"
            )
    summary = (module.__doc__ or "").strip().split("\n")[0]
    return Experiment(
        name,
        config,
        cast("Callable[[Config], Sequence[AnyTerm]]", terms),
        summary,
        source,
        str(path),
        flavours,
        version=getattr(module, "version", 1),
    )


def _describe_failure(path: str | None, line: int | None, error: BaseException) -> str:
    """Return one line that says where an experiment failed, in which term, and why."""
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()) if note.startswith("in the term"))
    reason = str(error).strip().split("\n")[0]
    return f"the experiment {path} fails at line {line}{notes}: {type(error).__name__}: {reason}"


def _last_line_in(error: BaseException, filename: str) -> int | None:
    """Return the line at which an exception left the given file."""
    trace, line = error.__traceback__, None
    while trace:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
