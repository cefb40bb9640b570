import dataclasses
import itertools
import re

import pytest

import nstjax
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import load, presets
from nstjax.experiment.settings import list_choices
from nstjax.objective import Objective


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps must be at least 0, not -1"),
        ({"sizes": 2.5}, "sizes must be a whole number, not 2.5"),
        ({"sizes": 0}, "sizes must be at least 1"),
        ({"learning_rate": float("nan")}, "learning-rate must be a finite number"),
        ({"beta1": 1.0}, "beta1 must be below 1"),
        ({"pooling": "sum"}, "pooling must be one of max, average, l2"),
        ({"clamp": True, "parameterisation": "fourier"}, "clamp needs parameterisation pixels"),
        ({"snapshots": (11,), "steps": 10}, "snapshots must lie between 0 and"),
        ({"layers": {"style": ("relu9_1",)}}, "no layer 'relu9_1'"),
        ({"loss_weights": {"style": float("inf")}}, "the weight of 'style' must be a finite number"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Config(**settings)


def test_replace_merges_mappings_and_refuses_unknown_names():
    config = Config(loss_weights={"content": 1.0, "style": 2.0})
    assert config.replace(loss_weights={"style": 5.0}).loss_weights == {"content": 1.0, "style": 5.0}
    with pytest.raises(UserError, match="no term 'stile' in loss_weights: expected one of content, style"):
        config.replace(loss_weights={"stile": 1.0})
    with pytest.raises(UserError, match="no setting 'stepz'"):
        config.replace(stepz=3)


def test_snapshots_are_sorted_and_unique():
    assert Config(steps=9, snapshots=(9, 3, 3)).snapshots == (3, 9)


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_its_terms_fit_its_settings(name):
    experiment = load(name)
    assert experiment.name == name and experiment.summary.endswith(".") and experiment.sha256
    objective = Objective(tuple(experiment.terms(experiment.config)))
    weights = {**experiment.config.loss_weights, **experiment.config.finish_weights}
    assert set(objective.names) == set(weights)
    assert set(objective.layers) == set(experiment.config.every_layer)
    changed = experiment.config.replace(layers={"style": ("relu1_1",)})
    assert "relu1_1" in Objective(tuple(experiment.terms(changed))).layers


EXPERIMENT = '''"""Mine."""
import nstjax

config = nstjax.Config(loss_weights={"range": 1.0}, steps=3)

def terms(config):
    return [nstjax.PictureTerm("range", nstjax.losses.value_range)]
'''


def test_an_experiment_is_loaded_from_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(EXPERIMENT)
    experiment = load(path)
    assert (experiment.name, experiment.summary, experiment.source) == ("mine", "Mine.", EXPERIMENT)
    assert [term.name for term in experiment.terms(experiment.config)] == ["range"]
    # A second load makes new functions of the file, but terms of the package's functions compare equal.
    assert Objective(tuple(experiment.terms(Config()))) == Objective(tuple(load(path).terms(Config())))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config = 3\ndef terms(config): return []", "must define config"),
        (EXPERIMENT.replace("def terms", "def term"), "must define a function terms"),
        ("import nstjax\n\nx = 1 / 0", "line 3: ZeroDivisionError"),
        ("def terms(:", "line 1: SyntaxError"),
        ("import nstjax\nconfig = nstjax.Config(steps=-1)", "steps must be at least 0"),
    ],
)
def test_files_that_are_no_experiments_are_refused(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_unknown_presets_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no preset 'longrun': expected one of anishathalye, default"):
        load("longrun")
    with pytest.raises(UserError, match="cannot read the experiment"):
        load(tmp_path / "not-there.py")


def test_every_public_name_can_be_imported():
    for name in nstjax.__all__:
        assert getattr(nstjax, name) is not None
    assert callable(nstjax.stylize)
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        nstjax.stylise  # noqa: B018


def test_every_setting_has_a_group_and_a_help_that_names_its_choices():
    for field in dataclasses.fields(Config):
        assert field.metadata["group"] and field.metadata["help"], field.name
        assert all(re.search(rf"\b{choice}\b", field.metadata["help"]) for choice in list_choices(field)), field.name


def test_settings_of_a_group_are_declared_together():
    groups = [field.metadata["group"] for field in dataclasses.fields(Config)]
    assert len([*itertools.groupby(groups)]) == len(set(groups))


def test_changes_by_the_user_override_the_settings_of_a_flavour(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(EXPERIMENT + 'flavours = {"self-taught": {"loss_weights": {"range": 9.0}, "steps": 7}}\n')
    experiment = load(path)
    assert experiment.config_for("caffe") == experiment.config
    assert experiment.config_for("self-taught").loss_weights == {"range": 9.0}
    changed = experiment.replace(loss_weights={"range": 2.0}).replace(size=64)
    assert changed.config_for("self-taught").loss_weights == {"range": 2.0}
    assert (changed.config_for("self-taught").steps, changed.config_for("self-taught").size) == (7, 64)
    path.write_text(EXPERIMENT + 'flavours = {"self-taught": {"loss_weights": {"rang": 9.0}}}\n')
    with pytest.raises(UserError, match="no term 'rang'"):
        load(path)
