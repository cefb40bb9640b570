"""The package as a type checker and an editor see it; .ci/run has pyright read tests/typing/user_program.py."""

import ast
import inspect
from pathlib import Path

import pytest

import nstjax

PACKAGE = Path(nstjax.__file__).parent


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


def test_type_checkers_see_every_public_name_where_it_is():
    tree = ast.parse(Path(nstjax.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {}
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        declared |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    assert sorted(declared) == sorted(nstjax.__all__)
    for name, home in declared.items():
        value = getattr(nstjax, name)
        real = value.__name__ if inspect.ismodule(value) else f"{value.__module__}.{value.__qualname__}"
        # ``losses`` is a package whose names have homes of their own in it.
        assert home == real or real.startswith("nstjax.losses."), name


@pytest.mark.parametrize("name", [name for name in nstjax.__all__ if inspect.isfunction(getattr(nstjax, name))])
def test_public_functions_are_annotated(name):
    signature = inspect.signature(getattr(nstjax, name))
    assert signature.return_annotation is not inspect.Parameter.empty
    assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
