"""The example pictures: their type, contrast and texture, and the program behind the painting."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nstjax.errors import UserError
from nstjax.images import examples, read

PAINTER = Path(__file__).parents[2] / "experiments" / "studies" / "paint_brushwork.py"


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


def test_the_painting_is_the_one_that_its_program_paints(tmp_path):
    subprocess.run([sys.executable, PAINTER, tmp_path / "painting.png"], check=True)
    painted, kept = read(tmp_path / "painting.png").rgb, examples.load("brushwork").rgb
    # Sines that round otherwise on another machine move a few bristles by a pixel.
    assert kept.shape == painted.shape and np.abs(kept - painted).mean() < 1 / 255


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
