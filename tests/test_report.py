import numpy as np
import pytest
from PIL import Image

from nstjax.report import contact_sheet


@pytest.mark.parametrize("size", [(40, 30), (200, 120), (900, 600)])
def test_every_picture_stands_under_its_own_label(tmp_path, size):
    """Red squares: each is found whole, apart from the others, and the labels between them do not touch."""
    steps = [3_000, 9_000, 17_000, 23_000, 30_000]
    for step in steps:
        Image.new("RGB", size, "red").save(tmp_path / f"{step}.png")
    contact_sheet(tmp_path / "sheet.png", {step: tmp_path / f"{step}.png" for step in steps})
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    red = (sheet == [255, 0, 0]).all(-1)
    width = min(size[0], 320)
    assert red.sum() == 5 * width * round(size[1] * width / size[0])
    # Above the first row of pictures are its labels, with white columns between them.
    ink = (sheet[: np.argmax(red.any(1))].sum(-1) < 600).any(0)
    gaps = np.diff(np.flatnonzero(ink))
    assert (gaps >= 10).sum() == 2  # three labels a row; inside one no gap is as wide
