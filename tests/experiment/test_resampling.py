"""The filter that resizes pictures is a setting, which reaches every place where a run resizes one."""

from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_picture

import nstjax
from nstjax import images
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import from_arrays, prepare, resize_to_each_size, restore_colours

CONTENT, STYLE, START = (smooth_picture(48, 64, seed=seed) for seed in range(3))

SMOOTH = '''"""Total variation alone, which compiles in no time."""
import nstjax

config = nstjax.Config(
    loss_weights={"tv": 1.0}, sizes=(20, 32), steps=(0, 1), learning_rate=1e-6, resampling="bilinear"
)

def terms(config):
    return (nstjax.PictureTerm("tv", nstjax.losses.total_variation_squared),)
'''


@pytest.mark.parametrize("resampling", ["lanczos", "bicubic", "bilinear", "area", "gaussian", "nearest"])
def test_every_picture_of_a_run_is_resized_by_the_filter(resampling, tmp_path):
    def resample(picture, height, width):
        return images.resample(picture, height, width, resampling=resampling)

    images.save(tmp_path / "start.png", START)
    settings = {"sizes": (16, 32), "init": str(tmp_path / "start.png"), "keep_colours": "lab"}
    config = Config(resampling=resampling, **settings)
    content = images.Picture(CONTENT, CONTENT[..., 0])
    coarse, fine = resize_to_each_size(prepare(content, [STYLE, CONTENT], config), config)
    np.testing.assert_array_equal(fine.content, resample(CONTENT, 24, 32))
    np.testing.assert_array_equal(fine.style, resample(STYLE, 24, 32))
    np.testing.assert_array_equal(fine.alpha, resample(CONTENT[..., 0], 24, 32))
    np.testing.assert_array_equal(coarse.content, resample(fine.content, 12, 16))
    np.testing.assert_array_equal(coarse.more_styles[0], resample(fine.more_styles[0], 12, 16))
    np.testing.assert_array_equal(coarse.alpha, resample(fine.alpha, 12, 16))
    np.testing.assert_array_equal(coarse.start, resample(images.read(settings["init"]).rgb, 12, 16))
    # A run that stops at its first size gets the content's colours at that size.
    expected = images.keep_colours(coarse.start, resample(fine.content, 12, 16), space="lab")
    np.testing.assert_array_equal(restore_colours(coarse.start, fine, config), expected)


def test_a_run_and_a_sweep_enlarge_their_pictures_by_the_filter(workspace):
    Path("smooth.py").write_text(SMOOTH)
    arguments = {"content": "content.png", "style": "style.png", "experiment": "smooth.py"}
    result = nstjax.stylize(**arguments, weights="vgg.safetensors")
    assert result.record["config"]["resampling"] == "bilinear"
    swept = nstjax.sweep(**arguments, weights="vgg.safetensors", vary={"learning_rate": [1e-6]})
    fine = images.resample(images.read("content.png").rgb, 24, 32, resampling="bilinear")
    coarse = images.resample(fine, 15, 20, resampling="bilinear")
    expected = images.resample(coarse, 24, 32, resampling="bilinear")
    for picture in (result.picture, swept.members[0].picture):
        np.testing.assert_allclose(picture, expected, atol=3e-6)  # Adam moves each pixel by 1e-6


def test_smaller_pictures_can_be_made_from_the_originals():
    config = Config(sizes=(16, 32), smaller_from="original", resampling="bilinear")
    inputs = prepare(CONTENT, [STYLE, CONTENT], config)

    def resample(picture):
        return images.resample(picture, 12, 16, resampling="bilinear")

    # As a resume reads them.
    for pictures in (inputs, from_arrays(inputs.to_arrays(), inputs.names)):
        coarse, fine = resize_to_each_size(pictures, config)
        np.testing.assert_array_equal(coarse.content, resample(CONTENT))
        np.testing.assert_array_equal(coarse.style, resample(STYLE))
        np.testing.assert_array_equal(coarse.more_styles[0], resample(CONTENT))
        assert np.abs(coarse.content - resample(fine.content)).max() > 2e-3


def test_recoloured_pictures_are_made_from_the_largest():
    config = Config(sizes=(16, 32), smaller_from="original", luminance=True)
    coarse, fine = resize_to_each_size(prepare(CONTENT, STYLE, config), config)
    np.testing.assert_array_equal(coarse.content, images.resample(fine.content, 12, 16))
