"""Areas of pictures: what is transparent takes no part in a style, and regions that are too small are named."""

from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_picture
from quick_run import StopAt, assert_same_run

import nstjax
from nstjax import images
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, from_arrays, prepare, resize_to_each_size
from nstjax.experiment.notices import warn_about_areas
from nstjax.losses import layer_sum, mean_squared
from nstjax.objective import Objective, style_term
from nstjax.statistics import gram

COMMON = {"experiment": "quick.py", "weights": "vgg.safetensors", "steps": 4}
CONTENT, STYLE = smooth_picture(30, 40), smooth_picture(36, 28, seed=1)
ALPHA = np.ones((36, 28), np.float32)
ALPHA[:, 12:] = 0


class Warnings(Listener):
    """A listener that keeps the warnings."""

    def __init__(self):
        self.lines: list[str] = []

    def warning(self, line):
        self.lines.append(line)


@pytest.fixture
def pictures(workspace):
    """Save a style of which the right part is transparent."""
    images.save("half.png", STYLE, alpha=ALPHA)
    return workspace


class Identity:
    """A network whose only feature is the picture."""

    def features(self, picture, layers):
        return {"input": picture}

    def guides(self, guides_RxHxW, layers):
        return {"input": guides_RxHxW**2 / (guides_RxHxW**2).mean(axis=(1, 2), keepdims=True)}


def test_the_target_of_a_sum_is_that_of_the_visible_pixels():
    terms = (
        style_term(["input"], gram, layer_sum(mean_squared)),
        style_term(["input"], np.max, layer_sum(mean_squared)),
    )
    objective = Objective(
        (terms[0], nstjax.Term("largest", ("input",), terms[1].statistic, terms[1].distance, "style"))
    )
    style = np.where(ALPHA[..., None] > 0, STYLE, 1)
    targets = objective.targets(Identity(), content=CONTENT, style=[style], style_alphas=[ALPHA])
    visible = STYLE[:, :12].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(targets["style"]["input"], visible.T @ visible / len(visible), rtol=1e-5)
    assert targets["largest"]["input"] == 1  # no sum, so of the whole picture


def test_transparent_areas_take_no_part_in_colours(pictures):
    config = Config(sizes=16, match_colour="content")
    for changes in ({}, {"colour_map": "histogram"}, {"luminance": True, "match_colour": "none"}):
        settings = config.replace(**changes)
        hidden = prepare("content.png", images.Picture(STYLE, ALPHA), settings.replace(size=None))
        alone = prepare("content.png", STYLE[:, :12], settings.replace(size=None))
        np.testing.assert_allclose(hidden.content, alone.content, atol=1e-6)
        np.testing.assert_allclose(hidden.style[:, :12], alone.style, atol=1e-6)
    inputs = prepare(images.Picture(STYLE, ALPHA), CONTENT, Config(sizes=None, match_colour="content"))
    visible = prepare(STYLE[:, :12], CONTENT, Config(sizes=None, match_colour="content"))
    np.testing.assert_allclose(inputs.content[:, :12], visible.content, atol=1e-6)
    np.testing.assert_allclose(
        inputs.content[:, 12:], np.broadcast_to(visible.content.mean((0, 1)), (36, 16, 3)), atol=1e-5
    )
    noise = Config(sizes=None, init="style-statistics")
    np.testing.assert_allclose(
        prepare("content.png", images.Picture(STYLE, ALPHA), noise).start,
        prepare("content.png", STYLE[:, :12], noise).start,
        atol=1e-6,
    )


def test_a_run_with_a_transparent_style_resumes_and_sweeps(pictures):
    listener = Warnings()
    cut = nstjax.stylize("content.png", "half.png", out="cut", listener=StopAt(1), checkpoint_every=1, **COMMON)
    whole = nstjax.resume("cut", listener=listener)
    assert cut.steps < whole.steps and not listener.lines
    assert Path("cut/inputs/style-alpha.npy").exists()
    swept = nstjax.sweep("content.png", ["half.png", "style.png"], vary={}, **COMMON)
    assert_same_run(swept.members[0].picture, whole.picture)
    opaque = nstjax.stylize("content.png", images.read("half.png").rgb, **COMMON)
    assert np.abs(opaque.picture - whole.picture).max() > 1e-3


def test_transparency_is_stored_and_has_every_size(workspace):
    config = Config(sizes=(16, 36))
    inputs = prepare("content.png", [images.Picture(STYLE, ALPHA), STYLE], config)
    stored = from_arrays(inputs.to_arrays(), inputs.names)
    for level in resize_to_each_size(stored, config):
        alpha, opaque = level.style_alphas
        assert opaque is None and alpha is not None and alpha.shape == level.style.shape[:2]


def list_warnings(statistic, inputs: Inputs, config: Config) -> list[str]:
    listener = Warnings()
    term = style_term(["relu1_1", "relu2_1"], statistic, layer_sum(mean_squared))
    warn_about_areas(Objective((term,)), resize_to_each_size(inputs, config), listener)
    return listener.lines


def channel_means(features_HxWxC):
    """Return the mean of each channel, not marked as a sum over positions."""
    return features_HxWxC.mean(axis=(0, 1))


def test_what_is_no_sum_says_that_transparent_areas_take_part(workspace):
    config = Config(sizes=None)
    inputs = prepare("content.png", images.Picture(STYLE, ALPHA), config)
    (line,) = list_warnings(channel_means, inputs, config)
    assert line.startswith("the transparent areas of the style take part in style, in the mean colour of the rest")
    assert not list_warnings(gram, inputs, config)
    assert not list_warnings(channel_means, prepare("content.png", STYLE, config), config)


def test_masks_leave_transparent_areas_out(pictures):
    left = np.zeros((36, 28, 3), np.float32)
    left[:, :12] = 1
    images.save("style-mask.png", left)  # the left part is white
    half = np.zeros((30, 40, 3), np.float32)
    half[:, 20:] = 1
    images.save("mask.png", half)
    config = Config(sizes=None)
    inputs = prepare(
        "content.png", ["half.png", "style.png"], config, content_mask="mask.png", style_masks=["style-mask.png"] * 2
    )
    assert not inputs.style_regions[0][0].any() and inputs.style_regions[0][1][:, :12].all()
    assert inputs.style_shares(config) == [[0, 1], [1, 1]]
    with pytest.raises(UserError, match=r"region 1 of 2 .* is fully transparent in the style"):
        prepare("content.png", "half.png", config, content_mask="mask.png", style_masks=["style-mask.png"])


def test_a_transparent_content_stays_transparent(pictures):
    images.save("cutout.png", CONTENT, alpha=np.pad(np.ones((20, 40), np.float32), [(10, 0), (0, 0)]))
    result = nstjax.stylize("cutout.png", "half.png", out="run", **COMMON)
    assert result.alpha is not None and result.alpha.shape == result.picture.shape[:2]
    saved = images.read("run/output.png").alpha
    assert saved is not None and (saved[:6] == 0).all() and (saved[-6:] == 1).all()


def test_regions_that_are_too_small_are_named_with_their_sizes(pictures):
    guide = np.zeros((2, 30, 40), np.float32)
    guide[1, 29, 39] = 1  # a single pixel, in a corner
    guide[0] = 1 - guide[1]
    style = np.zeros((2, 36, 28), np.float32)
    style[:, :, :14], style[1, :, 14:] = [[[1]], [[0]]], 1
    config, masks = Config(sizes=(16, 40)), {"content_mask": guide, "style_masks": [style]}
    (line,) = list_warnings(gram, prepare("content.png", "style.png", config, **masks), config)
    assert line.startswith("region 2 of 2 (in the order of their colours) is too small in the content at 16x12:")
    assert not list_warnings(gram, prepare("content.png", "style.png", Config(sizes=40), **masks), Config(sizes=40))
    guide[1, 29, 39], guide[1, 28, 0] = 0, 1
    guide[0] = 1 - guide[1]
    odd = guide[:, :29], smooth_picture(29, 40)  # pooling drops the last row
    config = Config(sizes=40)
    (line,) = list_warnings(
        gram, prepare(odd[1], "style.png", config, content_mask=odd[0], style_masks=[style]), config
    )
    assert "too small in the content at 40x29" in line
