import re

import pytest

from nstjax.errors import UserError
from nstjax.experiment.plan import Axis, combine_axes, member_name, to_settings

STYLE, RATE = Axis("style", (1.0, 100.0)), Axis("learning_rate", (0.01, 0.02))


def test_combinations_vary_the_last_axis_fastest():
    combinations = combine_axes([STYLE, RATE], paired=False)
    assert combinations == [
        {"style": 1.0, "learning_rate": 0.01},
        {"style": 1.0, "learning_rate": 0.02},
        {"style": 100.0, "learning_rate": 0.01},
        {"style": 100.0, "learning_rate": 0.02},
    ]
    assert combine_axes([], paired=False) == [{}]


def test_paired_values_are_combined_in_order():
    pairs = combine_axes([STYLE, RATE], paired=True)
    assert pairs == [{"style": 1.0, "learning_rate": 0.01}, {"style": 100.0, "learning_rate": 0.02}]
    with pytest.raises(UserError, match="the same number of each, not 2 of style, 3 of seed"):
        combine_axes([STYLE, Axis("seed", (1, 2, 3))], paired=True)


def test_an_assignment_becomes_settings_of_a_config():
    assignment = {"style": 2.0, "tv": 0.5, "seed": 3, "style picture": "x"}
    assert to_settings(assignment) == {"seed": 3, "loss_weights": {"style": 2.0, "tv": 0.5}}
    assert to_settings({}) == {}


def test_labels_of_axes_and_names_of_members():
    assert STYLE.label == "style weight" and RATE.label == "learning rate"
    assert Axis("style picture", ("a",)).label == "style picture"
    assert member_name({"style": 100.0, "learning_rate": 0.02}) == "style=100,learning_rate=0.02"
    assert member_name({"style picture": "a/b", "seed": 3}) == "style=a_b,seed=3"
    assert member_name({}) == "only"
    assert re.fullmatch("style=x{90,},seed=3,[0-9a-f]{8}", member_name({"style picture": "x" * 300, "seed": 3}))


def test_axes_without_values_with_repeated_values_or_with_the_same_name_are_refused():
    with pytest.raises(UserError, match="at least one value"):
        Axis("style", ())
    with pytest.raises(UserError, match="a value twice: 1, 2, 1"):
        Axis("style", (1.0, 2.0, 1.0))
    with pytest.raises(UserError, match="need different names"):
        combine_axes([STYLE, STYLE], paired=False)
