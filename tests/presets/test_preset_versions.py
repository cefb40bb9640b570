"""A preset's figures change only with a new version: its settings and its terms are pinned by digest.

The first digest is of the figures for its own flavour of weights, the second of what differs for others.
"""

import ast
import dataclasses
import hashlib
import inspect
import textwrap

import pytest

from nstjax.experiment.config import Config
from nstjax.experiment.experiment import load, presets

PINNED = {
    "anishathalye": (3, "024425bcd8cc92a9", "ae44f70d03b69162"),
    "default": (3, "5c8cfc5285338f1c", "ee0b2782af750670"),
    "gatys-controls": (3, "4cdb545efa5b11ad", "749a29f2077f5522"),
    "gatys-pytorch": (3, "88759310bea954b9", "749a29f2077f5522"),
    "keras-example": (2, "6d2f3273a47c123d", "aac93266f3dbf547"),
    "li-wand": (3, "e0c57119f9c9aec2", "cb84c9d7c1f96878"),
    "long-run": (3, "6b23f25968ef0fdb", "c1b6d2a25fdb3cb1"),
    "neural-style": (3, "019aece527527a95", "f2de47bf40dda75f"),
    "neural-style-pt": (3, "05d1def86ce21bc2", "f2de47bf40dda75f"),
    "neural-style-tf": (3, "65ff284b7971f116", "1e8c0f38d5295bf6"),
    "nnst": (4, "63fb529161bab5c8", "9dff34a544f50453"),
    "pystiche": (3, "0628be2420d6ae01", "3dd4f698eb753dee"),
    "pytorch-tutorial": (3, "6f8e043c2c9f5e64", "d59145582776235f"),
    "sliced-wasserstein": (3, "e8eb945b86a21faf", "347fe64515fb319d"),
    "strotss": (5, "5e735102a4a0cb94", "b29ad0c304b3211d"),
    "style-transfer-pytorch": (3, "bb913d8ac4023e14", "49010f866b0896ea"),
    "tensorflow-tutorial": (3, "7e8e987cece66b17", "3993f60a96138f24"),
    "tutorial": (2, "5dd6fde8a1205888", "8535b398325cee44"),
    "tutorial-literal": (2, "f2c628aed8631ee6", "85919cba86cafbd8"),
}

NO_FIGURES = {
    "checkpoint_every",
    "checkpoint_keep",
    "checkpoint_minutes",
    "depth",
    "log_every",
    "tensorboard",
}
"""Settings that change no picture."""

DEFAULTS = {
    "average_decay": 0.99,
    "beta1": 0.9,
    "beta2": 0.999,
    "blend_shares": (),
    "clamp": False,
    "clip_sizes": False,
    "colour_map": "monge",
    "content_details": False,
    "convolution": "auto",
    "deterministic": False,
    "dtype": "float32",
    "early_epsilon": False,
    "enlarge": False,
    "epsilon": 1e-08,
    "finish_weights": {},
    "first_step": 1.0,
    "horizon": None,
    "init": "content",
    "init_deviation": 0.0,
    "init_noise": 0.0,
    "keep": "last",
    "keep_colours": "none",
    "last_size_rate": 1.0,
    "layers": {},
    "learning_rate": 0.02,
    "line_search": True,
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
    "resampling": "lanczos",
    "restart_optimiser": False,
    "schedule": "constant",
    "schedule_end": 0.0,
    "schedule_rate": 0.96,
    "schedule_steps": 100,
    "seed": 0,
    "shard_picture": False,
    "recompute_content": False,
    "tile": "auto",
    "size_by": "long",
    "sizes": (512,),
    "smaller_from": "largest",
    "snapshot_every": None,
    "snapshots": (),
    "step_length": 1.0,
    "steps": 500,
    "style_scale": 1.0,
    "style_size": None,
    "weights": "auto",
}
"""Defaults of the other settings. A changed default changes every preset that does not set it."""


def describe(value):
    """Return a text that is the same for the same figures; for a preset's functions, the code without its docstring."""
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
        written = f"{type(value).__name__}({', '.join(f'{name}={describe(entry)}' for name, entry in fields.items())})"
        is_presets = not type(value).__module__.startswith("nstjax.")
        return f"{written}: {describe(type(value).__call__)}" if is_presets else written
    if isinstance(value, tuple):
        return f"({', '.join(map(describe, value))})"
    if not callable(value):
        return repr(value)
    if value.__module__.startswith("nstjax."):
        # The room, so that functions can move between its files.
        return f"{value.__module__.split('.')[1]}.{value.__qualname__}"
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    assert isinstance(function, ast.FunctionDef) and ast.get_docstring(function)
    return ast.unparse(function.body[1:])


def describe_figures(preset, *, config=None):
    """Return everything that decides the pictures of a preset with its own flavour of weights, as a text."""
    experiment = load(preset)
    config = config or experiment.config
    settings = {name: getattr(config, name) for name in sorted(DEFAULTS) if getattr(config, name) != DEFAULTS[name]}
    return f"{settings} {describe(tuple(experiment.terms(config)))}"


def compute_digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_version(preset, *, config=None):
    """Return a line that says what is wrong with a preset's version, or None."""
    pinned = PINNED.get(preset, (None, None, None))
    experiment, figures = load(preset), describe_figures(preset, config=config)
    current = experiment.version, compute_digest(figures), compute_digest(f"{dict(experiment.flavours)}")
    if current == pinned:
        return None
    if current[0] == pinned[0]:
        return f"{preset}: figures changed: give it a new version (they were pinned at version {pinned[0]})"
    return f'{preset}: pin the new version: "{preset}": {current}'


@pytest.mark.parametrize("preset", presets())
def test_figures_change_only_with_the_version(preset):
    assert check_version(preset) is None


def test_all_presets_are_pinned():
    assert set(PINNED) == set(presets())


def test_the_default_of_every_setting_is_pinned():
    missing = {field.name for field in dataclasses.fields(Config)} - NO_FIGURES - set(DEFAULTS)
    assert not missing, f"new settings: put their defaults into DEFAULTS here: {sorted(missing)}"


def test_a_changed_figure_is_detected():
    config = load("neural-style").config
    for settings in ({"steps": 998}, {"loss_weights": {"tv": 1.1e-3}}, {"layers": {"content": ("relu4_1",)}}):
        line = check_version("neural-style", config=config.replace(**settings))
        assert line and "figures changed: give it a new version" in line
    assert check_version("neural-style", config=config.replace(log_every=7)) is None


def test_terms_are_distinguished_by_their_code():
    experiments = [load(name) for name in ("neural-style", "neural-style-pt")]
    first, second = (describe(tuple(experiment.terms(experiment.config))) for experiment in experiments)
    assert "total_variation_half_squared(255 * picture)" in first and "total_variation_l1(255 * picture)" in second
    assert "0x" not in first + second  # no address of an object, which differs between processes
