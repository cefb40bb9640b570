import numpy as np
import pytest

from nstjax.errors import UserError
from nstjax.experiment.plan import Axis, member_name
from nstjax.sweeps.pictures import name_pictures

ARRAY = np.zeros((2, 2, 3), np.float32)

SOURCES = {
    "different files": (["a.png", "b/c.jpg"], ("a", "c")),
    "one name in two folders": (["monet/01.png", "klimt/01.png"], ("monet/01", "klimt/01")),
    "two extensions": (["a/01.png", "a/01.jpg"], ("01.png", "01.jpg")),
    "folders of one name": (["x/a/01.png", "y/a/01.png"], ("x/a/01", "y/a/01")),
    "an example and a file": (["example:portrait", "portrait.png"], ("portrait", "portrait.png")),
    "arrays": ([ARRAY, ARRAY], ("array-1", "array-2")),
    "names that differ in capital letters": (["a/Sea.png", "b/sea.png"], ("a/Sea", "b/sea")),
    "a file named as a folder and a file": (["/u/a/b.png", "/v/c/b.png", "/w/a_b.png"], ("a/b", "c/b", "w/a_b")),
}


@pytest.mark.parametrize("case", SOURCES)
def test_pictures_of_a_sweep_have_different_names_and_folders(case):
    sources, names = SOURCES[case]
    assert name_pictures(sources) == names
    folders = {member_name({"style picture": name}).casefold() for name in names}
    assert len(folders) == len(names)


def test_a_picture_given_twice_is_refused():
    with pytest.raises(UserError, match="style picture has a value twice: a, a"):
        Axis("style picture", name_pictures(["a.png", "./a.png"]))
