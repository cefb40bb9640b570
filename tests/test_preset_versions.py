"""A preset's figures do not change without a new version: its settings and its terms are pinned by digest."""

import ast
import dataclasses
import hashlib
import inspect
import textwrap

import pytest

from nstjax.config import Config
from nstjax.experiment import load, presets

PINNED = {
    "anishathalye": (1, "506e717a4a4b3b69"),
    "default": (1, "288567368e271cf3"),
    "gatys-controls": (1, "80f472de6a005053"),
    "gatys-pytorch": (1, "8b67acf878dcd2e6"),
    "keras-example": (1, "97087edc9c576719"),
    "long-run": (1, "d8799fa843cb7801"),
    "neural-style": (1, "4839d756eeb9cb19"),
    "neural-style-pt": (1, "573221fbfaefed0c"),
    "neural-style-tf": (1, "99babc4e19ccdda5"),
    "pystiche": (1, "3ab8eeb867654dd0"),
    "pytorch-tutorial": (1, "6dc0f59193aeaa68"),
    "tensorflow-tutorial": (1, "b0d6c56a9ac10470"),
    "tutorial": (1, "496ff6e8b3187f08"),
    "tutorial-literal": (1, "b5254857ad357805"),
}

NO_FIGURES = {
    "checkpoint_every",
    "checkpoint_keep",
    "checkpoint_minutes",
    "log_every",
    "tensorboard",
}
"""Settings that leave every picture as it is."""

DEFAULTS = {
    "average_decay": 0.99,
    "beta1": 0.9,
    "beta2": 0.999,
    "clamp": False,
    "colour_map": "monge",
    "convolution": "auto",
    "deterministic": False,
    "dtype": "float32",
    "enlarge": False,
    "epsilon": 1e-08,
    "horizon": None,
    "init": "content",
    "init_deviation": 0.0,
    "init_noise": 0.0,
    "keep": "last",
    "keep_colours": "none",
    "layers": {},
    "learning_rate": 0.02,
    "line_search_steps": 20,
    "loss_weights": {},
    "luminance": False,
    "match_colour": "none",
    "memory": 10,
    "momentum": 0.0,
    "normalise_gradients": False,
    "optimiser": "adam",
    "padding": None,
    "parameterisation": "pixels",
    "pooling": None,
    "precision": "default",
    "rematerialise": False,
    "schedule": "constant",
    "schedule_end": 0.0,
    "schedule_rate": 0.96,
    "schedule_steps": 100,
    "seed": 0,
    "shard_picture": False,
    "size": 512,
    "size_by": "long",
    "size_ratio": 1.4142135623730951,
    "size_steps": (),
    "sizes": (),
    "smallest_size": None,
    "snapshot_every": None,
    "snapshots": (),
    "steps": 500,
    "style_scale": 1.0,
    "style_size": None,
    "style_weights": (),
    "weights": "auto",
}
"""What each other setting was where a preset left it open. Where a default changes, so does every such preset."""


def described(value):
    """Text that is the same for the same figures: of a preset's own functions, their code without its docstring."""
    if dataclasses.is_dataclass(value):
        fields = {
            it.name: getattr(value, it.name)
            for it in dataclasses.fields(value)
            if getattr(value, it.name) != it.default
        }
        return f"{type(value).__name__}({', '.join(f'{name}={described(it)}' for name, it in fields.items())})"
    if isinstance(value, tuple):
        return f"({', '.join(map(described, value))})"
    if not callable(value):
        return repr(value)
    if value.__module__.startswith("nstjax."):
        return f"{value.__module__}.{value.__qualname__}"
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    assert isinstance(function, ast.FunctionDef) and ast.get_docstring(function)
    return ast.unparse(function.body[1:])


def figures(preset, *, config=None):
    """All that decides what a preset makes of two pictures, in words."""
    experiment = load(preset)
    config = config or experiment.config
    settings = {name: getattr(config, name) for name in sorted(DEFAULTS) if getattr(config, name) != DEFAULTS[name]}
    return f"{settings} {dict(experiment.flavours)} {described(tuple(experiment.terms(config)))}"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def objection(preset, *, config=None):
    """What is wrong with a preset's version, in one line, or None."""
    version, known = PINNED.get(preset, (None, None))
    now = load(preset).version, digest(figures(preset, config=config))
    if now == (version, known):
        return None
    if now[0] == version:
        return f"{preset}: figures changed: give it a new version (they were pinned at version {version})"
    return f'{preset}: pin what it is now: "{preset}": {now}'


@pytest.mark.parametrize("preset", presets())
def test_figures_change_with_the_version_alone(preset):
    assert objection(preset) is None


def test_no_other_preset_is_pinned():
    assert set(PINNED) == set(presets())


def test_every_setting_has_its_default_pinned():
    missing = {field.name for field in dataclasses.fields(Config)} - NO_FIGURES - set(DEFAULTS)
    assert not missing, f"new settings: put their defaults into DEFAULTS here: {sorted(missing)}"


def test_a_changed_figure_is_seen():
    config = load("neural-style").config
    for settings in ({"steps": 999}, {"loss_weights": {"tv": 1.1e-3}}, {"layers": {"content": ("relu4_1",)}}):
        line = objection("neural-style", config=config.replace(**settings))
        assert line and "figures changed: give it a new version" in line
    assert objection("neural-style", config=config.replace(log_every=7)) is None


def test_terms_are_told_apart_by_their_code():
    first, second = (described(tuple(load(it).terms(load(it).config))) for it in ("neural-style", "neural-style-pt"))
    assert "total_variation_half_squared(255 * picture)" in first and "total_variation_l1(255 * picture)" in second
    assert "0x" not in first + second  # no address of an object, which is another in every process
