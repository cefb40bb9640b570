"""Arguments from Python: reasonable values are taken, all others are refused in one line that names the argument.

Functions that start or describe work raise a UserError. Functions of arrays (losses, statistics, optimise) leave wrong
types to JAX, which raises a TypeError.
"""

import dataclasses
import inspect
import os
import re
import typing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture
from PIL import Image

import nstjax
from nstjax import arguments, images, losses, optimisers, statistics, units
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import prepare

PICTURE = smooth_picture(24, 32)
EXPERIMENT = Experiment(
    "two",
    Config(
        layers={"content": ("relu1_1",), "style": ("relu1_1",)},
        loss_weights={"content": 1.0, "style": 1.0},
        weights="self-taught",
    ),
    lambda config: (),
)

WRONG = {
    "None": None,
    "text": "no such thing",
    "negative": -1,
    "nan": float("nan"),
    "empty": (),
    "bytes": b"bytes",
    "another rank": np.zeros((2, 2, 2, 2), np.float32),
    "object": object(),
    "dict": {1: 2},
    "huge": 10**400,
    "complex": 1j,
}


class Accepted(Exception):
    """Raised where the work would begin."""


@pytest.fixture
def nothing_begins(monkeypatch, tmp_path):
    """Stop at the first step behind the checks, in an empty folder that must stay empty."""

    def accept(*arguments, **options):
        raise Accepted

    monkeypatch.chdir(tmp_path)
    for place in ("runs.stylize.resolve", "sweeps.sweep.resolve", "network.load.find", "runs.compiling.compile"):
        monkeypatch.setattr(f"nstjax.{place}", accept)
    yield
    assert not list(tmp_path.iterdir())


def refuse(function, name, value, **valid):
    """Return the kind of the error of a call with one wrong argument, after a check of its message."""
    try:
        function(**{**valid, name: value})
    except UserError as error:
        message = str(error)
        assert len(message.splitlines()) == 1 and len(message) < 400, message
        called = "masks?" if "mask" in name else {"blend": "style"}.get(name, name)
        assert re.search(rf"{called}\b|no such thing|no run in", message.replace("-", "_")), message
        return UserError
    except Accepted:
        return Accepted
    return None


RUN = {"content": PICTURE, "style": PICTURE, "experiment": EXPERIMENT}
CALLS = [
    (nstjax.stylize, RUN),
    (nstjax.sweep, {**RUN, "vary": {"style": [1, 2]}}),
    (nstjax.resume, {"path": "run"}),
    (nstjax.load_vgg, {}),
]
TAKEN = {
    "out": {"None", "text"},
    "blend": {"empty"},
    "listener": {"None"},
    "group_size": {"None"},
    "part": {"None"},
    "source": {"text"},
    "pooling": {"None"},
    "padding": {"None"},
}
"""Kinds of values that an argument takes although others do not."""


@pytest.mark.usefixtures("nothing_begins")
@pytest.mark.parametrize(
    ("function", "valid", "name"),
    [
        pytest.param(function, valid, name, id=f"{function.__name__}-{name}")
        for function, valid in CALLS
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ],
)
def test_every_argument_of_a_function_that_starts_work_is_checked(function, valid, name):
    if "mask" in name:
        valid = {**valid, "content_mask": "black", "style_masks": "black"}
    for kind, value in WRONG.items():
        is_resume = function is nstjax.resume  # where every call fails, since there is no run
        is_taken = not is_resume and kind in TAKEN.get(name, ())
        assert refuse(function, name, value, **valid) is (Accepted if is_taken else UserError), kind


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_every_setting_is_checked(field):
    taken = {"None"} if type(None) in typing.get_args(field.type) else set()
    taken |= {"text"} if field.type is str else set()
    taken |= {"empty"} if typing.get_origin(field.type) is tuple else set()
    taken |= {"None", "empty"} if field.name == "sizes" else set()
    taken |= {"None"} if field.name == "tile" else set()
    for kind, value in WRONG.items():
        assert refuse(Config, field.name, value) is (None if kind in taken else UserError), kind


OBJECTS = [
    (losses.layer_sum, {"distance": losses.mean_squared}, ["weights"]),
    (losses.SlicedWasserstein, {}, ["directions"]),
    (losses.WassersteinGaussian, {}, ["steps"]),
    (losses.TotalVariation, {}, ["power"]),
    (losses.sampled, {"distance": losses.mean_squared}, ["positions", "target_positions"]),
    (statistics.PooledLaplacian, {}, ["pool"]),
    (statistics.Patches, {}, ["size", "stride"]),
    (statistics.Hypercolumns, {}, ["stride"]),
    (optimisers.adam, {}, ["beta1", "beta2", "epsilon"]),
    (optimisers.rmsprop, {}, ["decay", "epsilon", "momentum"]),
    (optimisers.sgd, {}, ["momentum"]),
    (optimisers.lbfgs, {}, ["memory", "line_search_steps"]),
    (optimisers.Cosine, {"horizon": 3}, ["horizon", "end"]),
    (optimisers.Exponential, {"rate": 0.9, "steps": 3}, ["rate", "steps"]),
    (units.from_255, {"optimiser": "adam", "learning_rate": 1.0}, ["optimiser", "learning_rate", "epsilon"]),
    (nstjax.load, {}, ["name_or_path"]),
    (nstjax.content_term, {"distance": losses.mean_squared}, ["layers"]),
    (nstjax.Objective, {}, ["terms"]),
]
OPTIONAL = {"weights", "directions", "target_positions"}


@pytest.mark.parametrize(
    ("make", "valid", "name"),
    [pytest.param(make, valid, name, id=f"{make.__name__}-{name}") for make, valid, names in OBJECTS for name in names],
)
@pytest.mark.usefixtures("unchecked_types")
def test_every_number_of_an_object_is_checked(make, valid, name):
    called = {"name_or_path": "experiment|preset", "terms": "terms?"}.get(name, name)
    optional = name in OPTIONAL or (make is units.from_255 and name == "epsilon")
    for kind, value in WRONG.items():
        if (kind == "None" and optional) or (kind == "text" and name == "layers"):
            continue
        with pytest.raises(UserError, match=rf"\b({called})\b") as raised:
            make(**{**valid, name: value})
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("value", [None, "text", object()], ids=["None", "text", "object"])
def test_functions_of_arrays_leave_wrong_types_to_jax(value):
    for function in (losses.mean_squared, losses.relative_squared, losses.nearest_cosine):
        with pytest.raises(TypeError):
            function(jnp.ones((2, 3)), value)
    for function in (statistics.mean, statistics.gram, losses.total_variation_l1):
        with pytest.raises((TypeError, AttributeError)):
            function(value)


BYTES = np.round(255 * PICTURE).astype(np.uint8)
GREY = PICTURE[..., 0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (jnp.asarray(PICTURE), PICTURE),
        (PICTURE.astype(np.float64), PICTURE),
        (np.asfortranarray(PICTURE), PICTURE),
        (jnp.asarray(PICTURE, jnp.bfloat16), np.asarray(jnp.asarray(PICTURE, jnp.bfloat16), np.float32)),
        (BYTES, BYTES / np.float32(255)),
        (Image.fromarray(BYTES), BYTES / np.float32(255)),
        (images.Picture(PICTURE), PICTURE),
        (GREY, np.stack([GREY] * 3, axis=-1)),
        (GREY[..., None], np.stack([GREY] * 3, axis=-1)),
        (GREY > 0.5, np.stack([GREY > 0.5] * 3, axis=-1).astype(np.float32)),
        (PICTURE * np.float32(1.0005), np.minimum(PICTURE * np.float32(1.0005), 1)),
    ],
    ids=[
        "jax",
        "float64",
        "Fortran",
        "bfloat16",
        "uint8",
        "Pillow",
        "Picture",
        "grey",
        "one channel",
        "bool",
        "above 1",
    ],
)
def test_pictures_are_taken_in_every_usual_form(source, expected):
    content = prepare(source, PICTURE, Config()).content
    assert content.dtype == np.float32 and content.flags.c_contiguous
    np.testing.assert_array_equal(content, expected)


def test_a_picture_is_a_copy_and_its_fourth_channel_its_alpha():
    array = np.concatenate([PICTURE, np.ones_like(PICTURE[..., :1])], axis=-1)
    array[:4, :, 3], array[:4, :, :3] = 0, 1
    array.flags.writeable = False
    inputs = prepare(array, PICTURE, Config())
    np.testing.assert_array_equal(inputs.alpha, array[..., 3])
    np.testing.assert_array_equal(inputs.content[4:], PICTURE[4:])
    assert (inputs.content[:4] != 1).all() and not np.shares_memory(inputs.content, array)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((8, 8, 2), np.float32), r"content must be an array \[H, W, 3\] .* not of float32 \[8, 8, 2\]"),
        (np.zeros((3, 8, 8), np.float32), r"not of float32 \[3, 8, 8\]"),
        (np.zeros((8, 8, 3), np.int64), "not of int64"),
        (np.zeros((8, 8, 3), object), "not of object"),
        (np.zeros((0, 0, 3), np.float32), r"content must have pixels, but it is an array of \[0, 0, 3\]"),
        (np.full((8, 8, 3), 255.0), "content must have values in .* divide by 255"),
        (np.full((8, 8, 3), np.nan), r"values in \[0, 1\], not nan to nan"),
        (Image.new("RGB", (0, 4)), "content must be a picture with pixels"),
        ([[0.5, 0.5]], "content must be a path, example:NAME, a Pillow image, or an array"),
    ],
)
def test_what_is_no_picture_is_refused(source, message):
    with pytest.raises(UserError, match=message):
        prepare(source, PICTURE, Config())


def test_a_traced_value_is_refused():
    def trace(x):
        for call in (lambda: prepare(x, PICTURE, Config()), lambda: Config(learning_rate=x[0, 0, 0])):
            with pytest.raises(UserError, match="a traced value: call this outside of jit, grad and vmap"):
                call()
        return x

    jax.jit(trace)(PICTURE)


def test_numbers_of_numpy_and_jax_paths_and_single_values_are_taken():
    config = Config(
        layers={"style": "relu1_1"},
        loss_weights={"style": jnp.float32(2), "content": np.float32(0.5)},
        sizes=48,
        snapshots=np.int64(1),
        seed=jnp.int32(3),
        clamp=np.bool_(True),
        init=Path("start.png"),
        steps=np.array([5]),
    )
    assert config.layers == {"style": ("relu1_1",)} and config.loss_weights == {"style": 2.0, "content": 0.5}
    assert config.sizes == (48,) and config.snapshots == (1,) and config.steps == (5,)
    assert (config.seed, config.clamp, config.init) == (3, True, "start.png")
    assert all(type(weight) is float for weight in config.loss_weights.values()) and type(config.seed) is int
    assert optimisers.adam(beta1=jnp.float32(0.5)) is optimisers.adam(beta1=0.5)
    assert nstjax.content_term("relu1_1", losses.mean_squared).layers == ("relu1_1",)


def test_a_run_starts_from_an_array(monkeypatch):
    starts = []

    def keep(experiment, choice, inputs, listener):
        starts.append((experiment.config.init, inputs.start))
        raise Accepted

    monkeypatch.setattr("nstjax.runs.stylize.resolve", keep)
    with pytest.raises(Accepted):
        nstjax.stylize(**RUN, init=jnp.asarray(PICTURE[::-1]))
    (init, start) = starts[0]
    assert init == "array"
    np.testing.assert_allclose(start, PICTURE[::-1], atol=1e-6)
    with pytest.raises(UserError, match=r"to start from \(init\) is 24x32, another shape than the result's 32x24"):
        nstjax.stylize(**RUN, init=PICTURE.transpose(1, 0, 2))


class Unspeakable:
    """An object that cannot show itself."""

    def __repr__(self):
        raise ValueError


def test_values_are_described_in_one_short_line():
    assert arguments.describe("a\nb") == r"'a\nb'"
    assert arguments.describe(np.float32(2)) == "2.0"
    assert arguments.describe(jnp.zeros((2, 3))) == "an array of float32 [2, 3]"
    assert arguments.describe(Unspeakable()) == "a very long Unspeakable"
    assert len(arguments.describe("x" * 1000)) < 70
    assert os.fspath(arguments.to_text("out", Path("a"))) == "a"
    assert arguments.describe(Listener) == "<class 'nstjax.callbacks.Listener'>"
