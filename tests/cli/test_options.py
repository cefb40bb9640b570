"""Every option of every command with values of every wrong kind: one line and exit code 2, or the value is accepted."""

import argparse
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
import pytest
from quick_run import QUICK

from nstjax import cli
from nstjax.callbacks import Listener
from nstjax.cli import main, shared
from nstjax.experiment.config import Config

NUMBERS = ["0", "0.5", "-1"]
TEXTS = ["", "x", "nan", "-inf", "1" * 200, "1e300", "a=b", ",", "nowhere/x", "folder", "random.png"]
TEXTS += ["caf\xe9 \u2713\n\udcff"]

ARGUMENTS = {"run": QUICK[1:], "sweep": QUICK[1:]}


class Accepted(BaseException):
    """The end of a command that begins to compile."""


def list_parsers(parser, names=()):
    """Yield (names of the command, its parser)."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield names, parser
    for group in groups:
        for name, command in group.choices.items():
            yield from list_parsers(command, (*names, name))


COMMANDS = {" ".join(names): parser for names, parser in list_parsers(cli._parser())}


def list_arguments(command, action, value):
    """Return the command line that gives a value to an argument, with good values for all others."""
    others = [*ARGUMENTS.get(command, [])]
    if action.option_strings:
        return [*command.split(), *others, f"{action.option_strings[0]}={value}"]
    positional = [other for other in COMMANDS[command]._actions if not other.option_strings]
    if others:
        others[positional.index(action)] = value
        return [*command.split(), *others]
    return [*command.split(), *(value if other is action else "x" for other in positional)]


@pytest.fixture
def stops_before_compiling(workspace, monkeypatch):
    """Provide what the values name, and end each command where it begins to compile."""
    Path("folder").mkdir()
    Path("random.png").write_bytes(np.random.default_rng(0).bytes(500))

    def accept(*arguments, **options):
        raise Accepted

    monkeypatch.setattr("nstjax.runs.stylize._make_stages", accept)
    monkeypatch.setattr("nstjax.sweeps.sweep.make_members", accept)
    monkeypatch.setattr("nstjax.cli.runs._find_part", accept)
    parser = cli._parser()
    monkeypatch.setattr(cli, "_parser", lambda: parser)
    monkeypatch.setattr(shared, "open_terminal", lambda arguments: nullcontext(Listener()))
    monkeypatch.setattr(shared, "running_jax", lambda *arguments, **options: nullcontext())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_value_of_a_wrong_kind_is_one_line(stops_before_compiling, workspace, capsys, command):
    before, wrong = sorted(workspace.rglob("*")), []
    for action in COMMANDS[command]._actions:
        if action.nargs == 0 or (command == "sweep" and action.option_strings and action.nargs is None):
            continue  # a flag, or an option that the command `run` has too
        is_limit = action.dest in ("pixel_limit", "group_size")  # of which no number is too large
        numeric = action.metavar in ("N", "X", "W", "N,…", "X,…")
        for value in NUMBERS + TEXTS:
            arguments = list_arguments(command, action, value)
            try:
                code = main(arguments)
                error = capsys.readouterr().err
                right = code == 2 and error.startswith("nstjax: ") and error.count("\n") == 1
            except Accepted:
                error, right = "accepted", value != "" and (value in NUMBERS or not numeric or is_limit)
            if not right:
                wrong.append((arguments, error))
    assert not wrong
    assert sorted(workspace.rglob("*")) == before


@pytest.mark.parametrize("option", ["--memory", "--line-search-steps", "--horizon", "--schedule-steps", "--seed"])
def test_a_whole_number_is_refused_if_no_array_holds_it(workspace, capsys, option):
    for value in (2**63, 10**400):
        assert main([*QUICK, option, str(value)]) == 2
        assert f"{option[2:]} must be at most" in capsys.readouterr().err


def test_the_largest_seed_makes_a_key():
    jax.random.key(Config(seed=2**63 - 1).seed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beta1", "0.5", "0.9"], "--beta1 takes one number, but 0.9 follows as a second one"),
        (["--beta1=0.9", "--beta2", "0.9", "0.9"], "--beta2 takes one number, but 0.9 follows"),
        (["--pooling", "max", "l2"], "--pooling takes one value, but l2 follows"),
        (["--quiet", "third.png"], "unknown argument third.png"),
        (["--out="], "out is empty: a variable of the shell may not be set"),
    ],
)
def test_an_argument_too_many_is_explained(workspace, capsys, arguments, message):
    assert main([*QUICK, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
