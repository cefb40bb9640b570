"""The sizes of a run and the steps at each: what is taken, what replaces what, and what is refused."""

import numpy as np
import pytest

from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import load
from nstjax.experiment.sizes import (
    change_steps,
    format_steps,
    list_sizes,
    scale_sizes,
    share_steps,
    to_size,
    to_sizes,
    to_steps,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (512, (512,)),
        ("512", (512,)),
        (np.int64(512), (512,)),
        ((128, 256, 512), (128, 256, 512)),
        ([128, 128], (128, 128)),
        (np.array([128, 256]), (128, 256)),
        (" 128, 256,512 ", (128, 256, 512)),
        (None, ()),
        ("none", ()),
        ((), ()),
        ("128:512", "128:512"),
        (" 128 : 512 : 2.0", "128:512:2"),
        ("128:512:1.41", "128:512:1.41"),
        (f"128:512:{2**0.5!r}", "128:512"),
    ],
)
def test_sizes_are_taken_in_every_form(value, expected):
    assert to_sizes(value) == expected == to_sizes(expected)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((), (None,)),
        ((96, 192), (96, 192)),
        ("128:512", (128, 181, 256, 362, 512)),
        ("128:512:2", (128, 256, 512)),
        ("130:512:2", (256, 512)),
        ("512:512", (512,)),
        ("1:4:1e30", (4,)),
    ],
)
def test_a_range_counts_downwards_from_its_largest_size(sizes, expected):
    assert list_sizes(sizes) == expected


@pytest.mark.parametrize(
    ("sizes", "size", "expected"),
    [
        ((512,), 100, (100,)),
        ((512, 800), 400, (256, 400)),
        ((1, 800), 80, (1, 80)),
        ((), 64, (64,)),
        ((512, 800), None, ()),
        ("128:512:2", 256, "128:256:2"),
        ("128:512", 1024, "128:1024"),
        ("128:512:2", 100, "100:100:2"),
        ("128:512:2", None, ()),
    ],
)
def test_another_size_scales_the_sizes(sizes, size, expected):
    assert scale_sizes(sizes, size) == expected
    assert scale_sizes(expected, size) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("512:128", "sizes must go from coarse to fine, not '512:128': give 128:512"),
        ("128:x", "sizes must be whole numbers .* or a range, as in 128:512 or 128:512:2, not '128:x'"),
        ("128:512:", "sizes must be .* or a range, .*, not '128:512:'"),
        ("128:256:512:2", "sizes must be .* or a range, .*, not '128:256:512:2'"),
        ("128:512:1", "the ratio of sizes must be at least 1.01, not 1.0"),
        ("128:512:inf", "the ratio of sizes must be a finite number, not inf"),
        ("128:512:nan", "the ratio of sizes must be a finite number, not nan"),
        ("0:512", "sizes must be at least 1, not 0"),
        (f"1:{2**31}", "sizes must be at most 2,147,483,647, not 2147483648"),
        ((128, 64), r"sizes must go from coarse to fine, not \[128, 64\]: sort them"),
        ("128,64", r"sizes must go from coarse to fine, not \[128, 64\]: sort them"),
        ("128,", "sizes must be whole numbers .*, not '128,'"),
        ("", "sizes must be whole numbers .*, not ''"),
        ("9" * 5000, "sizes must be whole numbers .*, not '9+…"),
        (512.0, "sizes must be a whole number, not 512.0"),
        (True, "sizes must be a whole number, not True"),
        (["128:512"], "sizes must be a whole number, not '128:512'"),
        ({}, "sizes must be a value or a list of values, not {}"),
    ],
)
def test_what_are_no_sizes_is_refused(value, message):
    with pytest.raises(UserError, match=rf"^{message}"):
        to_sizes(value)


def test_a_size_is_a_number_or_none():
    assert (to_size(np.int32(5)), to_size(None), to_size("none")) == (5, None, None)
    for value, message in (
        (0, "at least 1, not 0"),
        (2.5, "a whole number, not 2.5"),
        ("x", "a whole number, not 'x'"),
    ):
        with pytest.raises(UserError, match=f"^size must be {message}$"):
            to_size(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (500, 500),
        ("500", 500),
        (np.int64(0), 0),
        ((200, 100), (200, 100)),
        ("200,100", (200, 100)),
        ("250,", (250,)),
        ([250], (250,)),
        (np.array([5, 4]), (5, 4)),
    ],
)
def test_steps_are_taken_in_every_form(value, expected):
    assert to_steps(value) == expected == to_steps(format_steps(expected))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "a number in all, or one for each size, as in 500 or 200,100, not 'x'"),
        ("1,,2", "a number in all, or one for each size, .*, not '1,,2'"),
        ((), "a number in all, or one for each size, .*, not none"),
        (2.5, "a whole number, not 2.5"),
        (True, "a whole number, not True"),
        ((1, False), "a whole number, not False"),
        (None, "a whole number, not None"),
        (b"5", "a whole number, not b'5'"),
        (-1, "at least 0, not -1"),
        ("5,-1", "at least 0, not -1"),
        (2**31, "at most 2,147,483,647, not 2147483648"),
    ],
)
def test_what_are_no_steps_is_refused(value, message):
    with pytest.raises(UserError, match=f"^steps must be {message}"):
        to_steps(value)


def test_steps_of_each_size():
    assert share_steps(500, 1) == (500,)
    assert share_steps(11, 3) == (3, 3, 5)  # the last size gets the remainder
    assert share_steps((1000, 500), 4) == (1000, 500, 500, 500)
    with pytest.raises(
        UserError, match=r"^steps are given for 3 sizes, but there are 2: give fewer steps, or more sizes$"
    ):
        share_steps((1, 2, 3), 2)


def test_a_number_of_steps_is_shared_in_the_present_proportions():
    assert change_steps((100, 80), 90, 2) == (50, 40)
    assert change_steps((1000, 500), 90, 5) == (30, 15, 15, 15, 15)
    assert change_steps((1000, 500), 90, 1) == (90,)
    assert change_steps((0, 0), 9, 2) == (4, 5)
    assert change_steps(500, 90, 2) == 90
    assert change_steps((100, 80), (7,), 2) == (7,)
    assert change_steps((100, 80, 60), None, 2) == (100, 80)
    for total in range(40):
        steps = change_steps((7, 0, 3, 5), total, 4)
        assert sum(steps) == total and min(steps) >= 0 and (steps[-1] > 0 or not total)
        assert change_steps(steps, total, 4) == steps


def test_replacing_steps_and_sizes_together():
    config = Config(sizes="128:384:2", steps=(100, 80), snapshots=(50, 180))
    shorter = config.replace(size=256, steps=90)
    assert shorter.every_size == (128, 256) and shorter.steps == (50, 40) and shorter.size == 256
    assert shorter.snapshots == (50,)  # a shortened run keeps the snapshots that it reaches
    assert config.replace(steps=(7, 3)).snapshots == ()
    assert config.replace(sizes=384).snapshots == (50,)
    assert config.replace(sizes="none").every_size == (None,) and config.replace(size="none").size is None
    assert config.replace(snapshots=(1,)).sizes == "128:384:2"
    for settings, message in (
        ({"steps": (1, 2, 3)}, "steps are given for 3 sizes, but there are 2"),
        ({"steps": (2**30,), "sizes": (1, 2, 3)}, "steps must be at most 2,147,483,647 at all sizes together"),
        ({"steps": 90, "snapshots": (91,)}, "snapshots must lie between 0 and 90"),
    ):
        with pytest.raises(UserError, match=message):
            config.replace(**settings)


def test_the_sizes_of_the_user_take_the_place_of_a_flavours():
    default = load("default")
    assert default.config_for("self-taught").every_size == (384,)
    for changes, sizes, ends in (
        ({"size": 256}, (256,), (100,)),
        ({"size": 256, "steps": 90}, (256,), (90,)),
        ({"sizes": (64, 96)}, (64, 96), (100, 180)),
        ({"sizes": "64:128:2", "steps": 90}, (64, 128), (50, 90)),
    ):
        config = default.replace(**changes).config_for("self-taught")
        assert (config.every_size, config.stage_ends) == (sizes, ends), changes


def test_a_run_makes_the_steps_that_its_experiment_says():
    changed = load("default").replace(steps=90).replace(sizes=128)
    assert changed.config_for("torchvision") == changed.config and changed.config.total_steps == 50


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--sizes", "512:128"], "sizes must go from coarse to fine, not '512:128': give 128:512"),
        (["--steps", "1,2,3"], "steps are given for 3 sizes, but there are 2: give fewer steps, or more sizes"),
        (["--size", "0"], "size must be at least 1, not 0"),
        (["--size", "64", "--sizes", "64"], "size and sizes exclude each other: the last of sizes is the size of"),
        (["--size-steps", "5"], "unknown argument --size-steps: nstjax run --help lists"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(options, line, capsys):
    assert main(["run", "content.png", "style.png", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nstjax: {line}") and len(error.splitlines()) == 1


def test_the_command_line_shows_size_next_to_sizes(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    group = text[text.index("Result and sizes") : text.index("--size-by NAME")]
    assert "--sizes N,…|N:N" in group and "--size N" in group and "(default: 512)" in group
