"""The shape of the package: what imports what, what starts what, and how signatures look."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nstjax

PACKAGE = Path(nstjax.__file__).parent

ROOMS = re.findall(r"^    ([a-z]+)  ", nstjax.__doc__ or "", re.MULTILINE)
"""From the foundation up, as the package's docstring lists them: a room imports only from rooms before it."""

WITHOUT_JAX = ["callbacks", "cli", "cli.terminal", "errors", "experiment.choice", "experiment.config"]
WITHOUT_JAX += ["experiment.experiment", "folders"]
WITHOUT_JAX += ["experiment.inputs", "experiment.plan", "experiment.record", "images", "images.examples"]
WITHOUT_JAX += ["images.masks", "network.architecture", "network.weights", "reports", "storage.contents"]
WITHOUT_JAX += ["storage.new_folder", "storage.run_folder"]
WITHOUT_JAX += ["storage.status", "storage.sweep_folder", "storage.tensorboard", "system.files", "system.memory"]
WITHOUT_JAX += ["system.processes", "system.signals", "system.streams"]


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            if node.module == "nstjax":
                yield from (f"nstjax.{alias.name}" for alias in node.names)


def test_every_room_is_known():
    assert {room(path) for path in modules()} - {"__init__", "__main__", "presets"} == set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward_only(path):
    if path.name in ("__init__.py", "__main__.py") and path.parent == PACKAGE:
        return  # the face of the package, which nothing inside it imports
    here = ROOMS.index(room(path))
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if name.startswith("nstjax."):
            there = name.split(".")[1]
            assert ROOMS.index(there) < here or there == room(path), f"{room(path)} imports {there}"


def test_files_are_short():
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert max(lengths.values()) <= 320, max(lengths, key=lengths.__getitem__)


CLAUSES = {
    "All",
    "As",
    "For",
    "How",
    "Likewise",
    "Of",
    "Over",
    "So",
    "That",
    "Those",
    "What",
    "Where",
    "Whether",
    "Which",
}
"""First words of docstrings that cannot be read out of context."""


def sources():
    root = PACKAGE.parent
    return [path for folder in ("nstjax", "tests", "experiments") for path in sorted((root / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_names_say_what_they_name_and_docstrings_stand_alone(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [getattr(node, attribute, None) for attribute in ("id", "arg", "name")]
        assert "it" not in names, f"line {node.lineno}: a name that says nothing"
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            assert text.split()[0] not in CLAUSES, text.splitlines()[0]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", WITHOUT_JAX)
def test_rooms_that_need_no_array_library_start_none(name):
    assert python(f"import sys, nstjax.{name}; print('jax' in sys.modules)") == "False\n"


def test_importing_the_package_does_nothing():
    loaded = python("import sys; before = set(sys.modules); import nstjax; print(*sorted(set(sys.modules) - before))")
    assert "numpy" not in loaded.split() and "jax" not in loaded.split()


def test_importing_everything_starts_no_device():
    code = "import nstjax.runs.stylize; from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    assert python(code) == "False\n"


def public_functions():
    for info in pkgutil.walk_packages([str(PACKAGE)], "nstjax."):
        if info.name.endswith("__main__") or ".presets" in info.name:
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != info.name:
                continue
            yield pytest.param(value, id=f"{info.name}.{name}")


@pytest.mark.parametrize("function", list(public_functions()))
def test_what_has_a_default_is_keyword_only(function):
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
            # The first argument of a command or of a finder may be left out: main(argv), load_vgg19(source).
            assert parameter.kind in named or parameter.name in ("argv", "source"), parameter.name


@pytest.mark.parametrize("function", list(public_functions()))
def test_keys_are_never_defaulted(function):
    key = inspect.signature(function).parameters.get("key")
    assert key is None or key.default is inspect.Parameter.empty
