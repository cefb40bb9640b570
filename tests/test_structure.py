"""The shape of the package: what imports what, what starts what, and how signatures look."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

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


def test_imports_go_downward_only():
    for path in modules():
        if path.name in ("__init__.py", "__main__.py") and path.parent == PACKAGE:
            continue  # the face of the package, which nothing inside it imports
        here = ROOMS.index(room(path))
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if name.startswith("nstjax."):
                there = name.split(".")[1]
                assert ROOMS.index(there) < here or there == room(path), f"{path} imports {there}"


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


def test_names_say_what_they_name_and_docstrings_stand_alone():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [getattr(node, attribute, None) for attribute in ("id", "arg", "name")]
            assert "it" not in names, f"{path}, line {node.lineno}: a name that says nothing"
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                assert text.split()[0] not in CLAUSES, f"{path}: {text.splitlines()[0]}"


def python(code, *arguments, environment=None):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"nstjax.{name}")
    if "jax" in sys.modules:
        sys.exit(f"nstjax.{name} imports jax")
"""


def test_rooms_that_need_no_array_library_start_none():
    python(IMPORT_ALL, *WITHOUT_JAX)


def test_importing_the_package_does_nothing():
    loaded = python("import sys; before = set(sys.modules); import nstjax; print(*sorted(set(sys.modules) - before))")
    assert "numpy" not in loaded.split() and "jax" not in loaded.split()


def test_importing_everything_starts_no_device_and_leaves_the_compilation_cache_off():
    code = """
import nstjax.runs.stylize, jax
from jax._src import xla_bridge
print(xla_bridge.backends_are_initialized(), jax.config.values["jax_compilation_cache_dir"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    assert python(code, environment=environment) == "False None\n"


def public_functions():
    for info in pkgutil.walk_packages([str(PACKAGE)], "nstjax."):
        if info.name.endswith("__main__") or ".presets" in info.name:
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != info.name:
                continue
            yield value


def test_what_has_a_default_is_keyword_only_and_no_key_has_one():
    for function in public_functions():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is not inspect.Parameter.empty:
                named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
                where = f"{function.__module__}.{function.__name__}: {parameter.name}"
                # The first argument of a command or of a finder may be left out: main(argv), load_vgg19(source).
                assert parameter.kind in named or parameter.name in ("argv", "source"), where
                assert parameter.name != "key", where
