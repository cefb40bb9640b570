"""The modules beside an experiment's file, which it may import as a script may.

All ``import`` statements of the file are followed, and those of the modules that they lead to, without executing
anything. What is found is read once, kept with the run, and imported from exactly the text that was read: no other
file of the folder is ever executed, and no compiled copy of one.

Two experiments may have different modules of one name, and their names may be those of other modules of the process:
the modules of an experiment are visible only to its own ``import`` statements.
"""

import ast
import builtins
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from nstjax.errors import UserError
from nstjax.system.files import check_regular


def read_source(path: Path) -> str:
    """Return the text of a Python file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        check_regular(path, "an experiment file")
        return path.read_text(encoding="utf-8-sig")
    except (UserError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the experiment {path}: {getattr(error, 'strerror', None) or error}") from None


def find_modules(path: Path, source: str) -> dict[str, str]:
    """Return the modules that an experiment imports from its folder, {file relative to the folder: text}.

    A package counts with all its modules. Modules of Python and of nstjax keep their names.

    Raises:
        SyntaxError: in the experiment or in one of the modules.
        UserError: a module cannot be read, or is no text of Python.
    """
    sources: dict[str, str] = {}
    waiting = [(path, source)]
    while waiting:
        for name in sorted(_list_imports(*waiting.pop())):
            for file in _list_files(path.parent, name):
                key = file.relative_to(path.parent).as_posix()
                if key not in sources and file != path:
                    sources[key] = read_source(file)
                    waiting.append((file, sources[key]))
    return dict(sorted(sources.items()))


def _list_imports(path: Path, source: str) -> set[str]:
    """Return the first part of each name that a file imports, except by relative imports."""
    names: set[str] = set()
    try:
        tree = ast.parse(source, str(path))
        compile(tree, str(path), "exec", dont_inherit=True)
    except (ValueError, RecursionError, MemoryError) as error:  # zero bytes, or nested too deeply
        raise UserError(f"cannot read the experiment {path}: {error or type(error).__name__}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"nstjax"}


def _list_files(folder: Path, name: str) -> list[Path]:
    package, module = folder / name, folder / f"{name}.py"
    if (package / "__init__.py").is_file():
        return sorted(package.rglob("*.py"))
    if module.is_file():
        return [module]
    # As Python does, prefer what is installed to a folder that only has the name.
    installed = importlib.util.find_spec(name) if package.is_dir() else None
    return sorted(package.rglob("*.py")) if installed is None or installed.origin is None else []


class Modules(MetaPathFinder, Loader):
    """The importer of an experiment's modules.

    Args:
        folder: the folder that they lie in.
        sources: {file relative to the folder: text}.
    """

    def __init__(self, folder: Path, sources: Mapping[str, str]):
        self.folder, self.sources = folder, sources
        self._files = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in sources}
        self._roots = {name.partition(".")[0] for name in self._files}
        self._loaded: dict[str, ModuleType] = {}

    @property
    def paths(self) -> list[str]:
        """The paths of the modules' files."""
        return [str(self.folder / file) for file in self.sources]

    def execute(self, module: ModuleType, source: str, path: str) -> None:
        """Execute a file of the experiment as a module whose ``import`` statements see the experiment's modules."""
        module.__file__ = path
        if self.sources:
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Find a module, as Python's import system asks."""
        file = self._files.get(fullname)
        if file is None and not any(name.startswith(f"{fullname}.") for name in self._files):
            return None
        origin = None if file is None else str(self.folder / file)
        is_package = file is None or file.endswith("__init__.py")
        return importlib.util.spec_from_loader(fullname, self, origin=origin, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation of a module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module that Python has created."""
        if file := self._files.get(module.__name__):  # a folder without __init__.py is a package too
            self.execute(module, self.sources[file], str(self.folder / file))

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: tuple[str, ...] = (), level: int = 0
    ) -> ModuleType:
        arguments = name, globals, locals, fromlist, level
        if not level and not self._is_mine(name):
            return builtins.__import__(*arguments)
        with self._make_visible():
            return builtins.__import__(*arguments)

    def _is_mine(self, name: str) -> bool:
        return name.partition(".")[0] in self._roots

    @contextlib.contextmanager
    def _make_visible(self) -> Iterator[None]:
        """Put the experiment's modules in the place of others of their names, until the outermost import has ended."""
        if self in sys.meta_path:
            yield
            return
        others = self._remove_modules()
        sys.modules.update(self._loaded)
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            self._loaded = self._remove_modules()
            sys.modules.update(others)

    def _remove_modules(self) -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in [*sys.modules] if self._is_mine(name)}
