"""An experiment: a Python file that defines what a run minimises.

The file must define

    config: nstjax.Config                                     settings, which the command line can change
    def terms(config: nstjax.Config) -> Sequence[nstjax.Term | nstjax.PictureTerm]

and the first line of its docstring describes it. It may define

    flavour: str                                              flavour of the weights that the settings are meant for
    flavours: dict[str, dict]                                 {another flavour: settings that differ}
    version: int                                              changed whenever its results change; 1 by default

It may import the modules that lie beside it; see ``modules``.

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
from nstjax.experiment.mistakes import check_flavour, check_flavours, check_version, error_context, locate
from nstjax.experiment.modules import Modules, find_modules, read_source
from nstjax.system.functions import check_arguments

if TYPE_CHECKING:
    from nstjax.types import AnyTerm

EXPERIMENT, MODULES = "experiment.py", "modules/"
"""Where the copies of an experiment's file and of its modules lie in the inputs of a run."""


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
        flavours: {flavour of the weights: settings that differ}.
        flavour: flavour of the weights that the settings are meant for; None if they are meant for any.
        changes: arguments of the calls of ``replace``, in order.
        version: version of the results.
        modules: the modules beside the file that it imports; None if there are none.
    """

    name: str
    config: Config
    terms: "Callable[[Config], Sequence[AnyTerm]]"
    summary: str = ""
    source: str | None = None
    path: str | None = None
    flavours: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    flavour: str | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    version: int | float | str = 1
    modules: Modules | None = None

    def replace(self, **settings: Any) -> "Experiment":
        """Return a copy of the experiment with some settings replaced; see ``Config.replace``."""
        return replace(self, config=self.config.replace(**settings), changes=(*self.changes, settings))

    @contextlib.contextmanager
    def error_context(self) -> Iterator[None]:
        """Turn an error raised by the experiment's own code into one line that says where and why.

        Raises:
            UserError: replaces any other error that left the experiment's files, or was raised in one of its terms.
        """
        if self.path is None:
            yield
            return
        with error_context(Path(self.path), modules=self.modules, terms=self.terms):
            yield

    def config_for(self, flavour: str) -> Config:
        """Return the settings for weights of a flavour; changes by ``replace`` take precedence over the flavour's."""
        settings = dict(self.flavours.get(flavour, {}))
        if not settings:
            return self.config
        if any("sizes" in change for change in self.changes):
            # Fewer sizes on the way to those that were asked for would take the steps of the others with them.
            settings = {name: value for name, value in settings.items() if name not in ("size", "sizes")}
        config = self.config.replace(**settings)
        for change in self.changes:
            config = config.replace(**change)
        return config

    @property
    def sha256(self) -> str | None:
        """Checksum of the file."""
        return None if self.source is None else sha256(self.source)

    @property
    def sources(self) -> dict[str, str]:
        """The text of each file, by its path in the inputs of a run; empty for an experiment defined in Python."""
        if self.source is None:
            return {}
        modules = {} if self.modules is None else self.modules.sources
        return {EXPERIMENT: self.source, **{MODULES + file: source for file, source in modules.items()}}

    @property
    def manifest(self) -> dict[str, Any]:
        """The entries of a run's record: name, version, and the checksums of the file and of its modules."""
        modules = {} if self.modules is None else self.modules.sources
        digests = {file: sha256(source) for file, source in modules.items()}
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "modules": digests}


def sha256(source: str) -> str:
    """Return the checksum of a file of an experiment."""
    return hashlib.sha256(source.encode()).hexdigest()


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
    source = read_source(path)
    with error_context(path):
        modules = Modules(path.parent, find_modules(path, source))
    return execute(name if name in paths else path.stem, path, source, modules)


def execute(name: str, path: Path, source: str, modules: Modules) -> Experiment:
    """Execute the text of an experiment's file.

    Args:
        name: name of the experiment.
        path: path of the file, for messages.
        source: text of the file.
        modules: the modules beside the file.

    Raises:
        UserError: the file fails, or does not define what an experiment must.
    """
    # Dataclasses in the module need to find it by name while they are created.
    module_name = f"nstjax_experiment_{sha256(source)[:16]}"
    spec = importlib.util.spec_from_loader(module_name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    with error_context(path, modules=modules):
        modules.execute(module, source, str(path))
    config, terms = getattr(module, "config", None), getattr(module, "terms", None)
    flavours, version = getattr(module, "flavours", {}), getattr(module, "version", 1)
    flavour = getattr(module, "flavour", None)
    if not isinstance(config, Config):
        raise UserError(f"the experiment {locate(path, source, 'config')} must define config = nstjax.Config(…)")
    if not callable(terms):
        where = locate(path, source, "terms")
        raise UserError(f"the experiment {where} must define a function terms(config) that returns nstjax.Term objects")
    check_arguments(terms, "the experiment's", positional=1, expected="(config)")
    return Experiment(
        name,
        config,
        cast("Callable[[Config], Sequence[AnyTerm]]", terms),
        (module.__doc__ or "").strip().split("\n")[0],
        source,
        str(path),
        check_flavours(flavours, config, locate(path, source, "flavours")),
        check_flavour(flavour, locate(path, source, "flavour")),
        version=check_version(version, locate(path, source, "version")),
        modules=modules,
    )
