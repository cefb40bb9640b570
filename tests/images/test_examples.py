"""The example pictures: their type, contrast and texture, and that they are the same every time."""

import time

import numpy as np
import pytest

from nstjax.errors import UserError
from nstjax.images import examples


@pytest.mark.parametrize("name", examples.EXAMPLES)
def test_every_example_is_a_picture_with_a_description_of_its_use(name):
    picture = examples.load(name)
    assert picture.rgb.dtype == np.float32
    assert picture.rgb.ndim == 3 and picture.rgb.shape[2] == 3
    assert min(picture.rgb.shape[:2]) >= 500
    assert picture.rgb.min() >= 0 and picture.rgb.max() <= 1
    assert picture.rgb.std() > 0.15, "a picture with contrast"
    assert picture.alpha is None
    assert examples.EXAMPLES[name].startswith(("content: ", "style: "))


def test_the_painting_is_the_same_every_time_and_fast_to_draw():
    started = time.process_time()
    first = examples.load("brushwork").rgb
    assert time.process_time() - started < 20  # about 1.5 s; the limit is wide for a slow machine
    assert first.shape == (512, 640, 3)
    np.testing.assert_array_equal(first, examples.load("brushwork").rgb)


def test_the_painting_has_several_hues_and_texture_at_fine_and_coarse_scales():
    rgb = examples.load("brushwork").rgb
    red, blue = rgb[..., 0], rgb[..., 2]
    assert np.mean(red > blue + 0.2) > 0.15, "warm lights"
    assert np.mean(blue > red + 0.2) > 0.25, "a cold sky"
    grey = rgb.mean(axis=-1)
    assert np.abs(np.diff(grey, axis=0)).mean() > 0.02, "bristles"
    assert grey.reshape(8, 64, 10, 64).mean(axis=(1, 3)).std() > 0.08, "light and dark masses"


def test_an_unknown_name_is_refused_with_the_known_names():
    with pytest.raises(UserError, match=r"'nonsense'.*portrait, brushwork"):
        examples.load("nonsense")
