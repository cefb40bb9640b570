import pytest

from nstjax.errors import UserError
from nstjax.experiment.plan import Axis, assignments, member_name, settings

STYLE, RATE = Axis("style", (1.0, 100.0)), Axis("learning_rate", (0.01, 0.02))


def test_every_combination_the_last_axis_fastest():
    found = assignments([STYLE, RATE], paired=False)
    assert found == [
        {"style": 1.0, "learning_rate": 0.01},
        {"style": 1.0, "learning_rate": 0.02},
        {"style": 100.0, "learning_rate": 0.01},
        {"style": 100.0, "learning_rate": 0.02},
    ]
    assert assignments([], paired=False) == [{}]


def test_paired_values_go_together():
    found = assignments([STYLE, RATE], paired=True)
    assert found == [{"style": 1.0, "learning_rate": 0.01}, {"style": 100.0, "learning_rate": 0.02}]
    with pytest.raises(UserError, match="as many of each, not 2 of style, 3 of seed"):
        assignments([STYLE, Axis("seed", (1, 2, 3))], paired=True)


def test_an_assignment_is_settings_for_a_config():
    assignment = {"style": 2.0, "tv": 0.5, "seed": 3, "style picture": "x"}
    assert settings(assignment) == {"seed": 3, "loss_weights": {"style": 2.0, "tv": 0.5}}
    assert settings({}) == {}


def test_labels_and_names():
    assert STYLE.label == "style weight" and RATE.label == "learning rate"
    assert Axis("style picture", ("a",)).label == "style picture"
    assert member_name({"style": 100.0, "learning_rate": 0.02}) == "style=100,learning_rate=0.02"
    assert member_name({"style picture": "a/b", "seed": 3}) == "style=a_b,seed=3"
    assert member_name({}) == "only"


def test_axes_without_values_with_one_twice_or_of_one_name():
    with pytest.raises(UserError, match="at least one value"):
        Axis("style", ())
    with pytest.raises(UserError, match="a value twice: 1, 2, 1"):
        Axis("style", (1.0, 2.0, 1.0))
    with pytest.raises(UserError, match="name of its own"):
        assignments([STYLE, STYLE], paired=False)
