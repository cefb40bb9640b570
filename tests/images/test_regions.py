"""Region masks: what their files paint, and the guides that are made of them."""

import io

import numpy as np
import pytest
from conftest import smooth_picture, test_data
from PIL import Image, ImageFilter

from nstjax.errors import UserError
from nstjax.images import (
    Regions,
    check_guides,
    check_mask_shape,
    common_regions,
    guides,
    read_regions,
    regions_of,
    resized_guides,
    uniform_regions,
)

RED, GREEN, BLUE, BLACK = "#ff0000", "#00ff00", "#0000ff", "#000000"


def painted(labels: np.ndarray, colours: list[str]) -> Image.Image:
    palette = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.uint8)
    return Image.fromarray(palette[labels])


def mask(size: int = 96) -> tuple[np.ndarray, Image.Image]:
    """Three regions with slanted and round edges: labels, and the picture."""
    y, x = np.mgrid[:size, :size] / size
    labels = np.where(x + 0.3 * y < 0.5, 0, 1)
    labels[(x - 0.7) ** 2 + (y - 0.6) ** 2 < 0.04] = 2
    return labels, painted(labels, [BLACK, RED, "#808000"])


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def regions(labels: list[list[int]], *colours: str) -> Regions:
    return Regions(np.array(labels, np.uint8), colours)


def test_a_clean_mask_gives_its_labels_and_its_colours_sorted(tmp_path):
    labels, image = mask()
    image.save(tmp_path / "mask.png")
    found = read_regions(tmp_path / "mask.png")
    assert found.colours == (BLACK, "#808000", RED)
    np.testing.assert_array_equal(found.labels, np.array([0, 2, 1])[labels])
    assert found.labels.dtype == np.uint8
    np.testing.assert_allclose(found.shares(), [(labels == i).mean() for i in (0, 2, 1)])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: as_jpeg(image, 90),
        lambda image: as_jpeg(image, 50),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.resize((288, 288), Image.Resampling.BICUBIC).resize((96, 96), Image.Resampling.LANCZOS),
    ],
    ids=["jpeg 90", "jpeg 50", "blurred", "resized"],
)
def test_smeared_edges_and_near_colours_add_no_regions(spoil):
    labels, image = mask()
    found = regions_of(array(spoil(image)))
    assert len(found.colours) == 3
    for colour, clean in zip(found.colours, (BLACK, "#808000", RED), strict=True):
        assert np.ptp(np.frombuffer(bytes.fromhex(colour[1:] + clean[1:]), np.uint8).reshape(2, 3), axis=0).max() <= 4
    # Along an edge of two colours a third may be the nearer one, and JPEG keeps colour at half the resolution.
    assert (found.labels == np.array([0, 2, 1])[labels]).mean() > 0.96


def test_a_line_of_a_colour_of_its_own_is_no_region():
    labels = np.zeros((20, 30), int)
    labels[:, 15:] = 1
    labels[:, 14] = 2
    found = regions_of(array(painted(labels, [BLACK, "#ffffff", "#606060"])))
    assert found.colours == (BLACK, "#ffffff")
    np.testing.assert_array_equal(found.labels, labels == 1)  # the grey is nearer to black


def test_photographs_and_other_pictures_are_no_masks(tmp_path):
    with pytest.raises(UserError, match=r"1 to 32 flat colours.*belong to none: is it a photograph"):
        regions_of(smooth_picture(60, 80))
    with pytest.raises(UserError, match=r"100% of its pixels belong to none"):
        regions_of(np.random.default_rng(0).uniform(0, 1, (20, 20, 3)).astype(np.float32))
    Image.fromarray((smooth_picture(60, 80) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"photo\.png: expected a mask") as error:
        read_regions(tmp_path / "photo.png")
    assert "\n" not in str(error.value)


def test_more_than_32_regions_are_refused():
    steps = np.arange(36)
    palette = [f"#{51 * (i % 6):02x}{51 * (i // 6):02x}00" for i in steps]
    squares = np.kron(steps.reshape(6, 6), np.ones((6, 6), int))
    with pytest.raises(UserError, match=r"1 to 32 flat colours.*has more"):
        regions_of(array(painted(squares, palette)))


def test_labels_that_are_numbers_and_not_colours_are_refused():
    numbers = np.kron(np.arange(4).reshape(2, 2), np.ones((8, 8), int)).astype(np.uint8)
    with pytest.raises(UserError, match=r"its 4 colours are all alike: paint"):
        regions_of(array(Image.fromarray(numbers)))


def test_a_transparent_mask_is_refused(tmp_path):
    image = mask()[1].convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))))
    image.save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"transparent in places: expected a mask with a colour everywhere"):
        read_regions(tmp_path / "mask.png")


@pytest.mark.parametrize(("word", "colour"), [("black", BLACK), ("#f00", RED), ("Lime", GREEN), ("#0000ff80", BLUE)])
def test_a_colours_name_is_a_region_of_the_whole_picture(word, colour):
    found = uniform_regions(word, 3, 5)
    assert found.colours == (colour,) and found.shares() == (1,)
    np.testing.assert_array_equal(guides(found, (colour,), 2, 2), np.ones((1, 2, 2)))


def test_what_is_no_colour_is_refused():
    with pytest.raises(UserError, match=r"as black or #ff0000, got 'blakc'"):
        uniform_regions("blakc", 3, 5)


def test_guides_are_shares_of_areas():
    four = regions([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 2, 2]], BLUE, GREEN, RED)
    found = guides(four, (RED, BLUE, GREEN), 1, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [[0, 1 / 3], [5 / 6, 0], [1 / 6, 2 / 3]], atol=1e-7)
    # A position covers 4/3 columns: of the middle one, a third of column 1 and as much of each neighbour it cuts.
    np.testing.assert_allclose(guides(four, (BLUE,), 3, 3)[0, 1], [0.75, 0, 0], atol=1e-7)
    np.testing.assert_allclose(guides(four, (BLUE,), 3, 3)[0, 0], [1, 0.5, 0], atol=1e-7)


def test_enlarged_guides_are_the_nearest_labels():
    two = regions([[0, 1], [1, 0]], BLUE, RED)
    np.testing.assert_array_equal(guides(two, (RED,), 4, 2)[0], [[0, 1], [0, 1], [1, 0], [1, 0]])
    np.testing.assert_array_equal(guides(two, (RED,), 2, 2)[0], [[0, 1], [1, 0]])
    np.testing.assert_allclose(guides(two, (RED,), 4, 1)[0], np.full((4, 1), 0.5))


@pytest.mark.parametrize("size", [(96, 96), (13, 47), (1, 1), (7, 200)])
def test_guides_share_out_every_position(size):
    found = regions_of(array(mask()[1]))
    shares = guides(found, found.colours, *size)
    assert shares.min() >= 0 and shares.max() <= 1
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)  # float32's rounding of thirds and the like
    check_guides(shares)
    if size == (1, 1):
        np.testing.assert_allclose(shares[:, 0, 0], found.shares(), atol=1e-7)


def test_common_regions_are_the_contents_and_a_styles_others_are_unused():
    content, style = regions([[0, 1]], BLACK, RED), regions([[0, 1, 2]], BLACK, BLUE, RED)
    assert common_regions(content, [style]) == (BLACK, RED)
    np.testing.assert_array_equal(guides(style, (BLACK, RED), 1, 3)[:, 0], [[1, 0, 0], [0, 0, 1]])


def test_each_region_may_come_from_another_style():
    content = regions([[0, 1]], BLACK, RED)
    one, other = regions([[0]], BLACK), regions([[0, 1]], GREEN, RED)
    assert common_regions(content, [one, other]) == (BLACK, RED)
    np.testing.assert_array_equal(guides(one, (BLACK, RED), 1, 1)[:, 0, 0], [1, 0])


def test_other_shades_of_a_colour_are_found():
    content, style = regions([[0, 1]], "#030005", "#7f8000"), regions([[0, 1, 1]], "#000000", "#868109")
    common = common_regions(content, [style])
    assert common == content.colours
    np.testing.assert_array_equal(guides(style, common, 1, 3)[:, 0], [[1, 0, 0], [0, 1, 1]])


def test_a_shade_is_no_second_time_another_regions():
    content, style = regions([[0, 1]], "#000000", "#101010"), regions([[0, 1]], "#000000", "#ffffff")
    with pytest.raises(UserError, match=r"region #101010 of the content mask \(50.0%"):
        common_regions(content, [style])


def test_a_region_that_no_style_has_is_told_with_its_share():
    content, style = regions([[0, 0, 0, 1]], BLACK, RED), regions([[0, 1]], BLACK, BLUE)
    with pytest.raises(UserError, match=rf"{RED} of the content mask \(25\.0% .* are {BLACK}, {BLUE}: paint") as error:
        common_regions(content, [style, style])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (np.full((2, 3, 4), 0.5, np.float32)[:, :, 0], r"float array \[regions, H, W\].*float32 \[2, 3\]"),
        (np.ones((1, 3, 4), np.uint8), r"float array.*uint8 \[1, 3, 4\]"),
        (np.ones((0, 3, 4), np.float32), r"\[0, 3, 4\]"),
        (np.full((1, 3, 4), 255.0), r"lie in \[0, 1\], not 255 to 255: divide by 255"),
        (np.full((1, 3, 4), np.nan), r"lie in \[0, 1\], not nan"),
        (np.stack([np.ones((2, 2)), np.eye(2)]), r"overlap at 50\.0% of the positions.*sum to 2"),
        (np.eye(4)[None], r"75\.0% of the positions are not labelled in full.*sum to 0"),
    ],
    ids=["rank", "integers", "none", "levels", "nan", "overlap", "unlabelled"],
)
def test_guides_made_elsewhere_are_checked(made, message):
    with pytest.raises(UserError, match=message):
        check_guides(made)


def test_guides_may_be_off_by_a_thousandth():
    check_guides(np.full((3, 2, 2), 0.3331, np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("mask_size", "size", "fits"),
    [
        ((300, 400), (768, 1024), True),
        ((300, 400), (1024, 768), False),
        ((393, 700), (287, 512), True),
        ((300, 400), (306, 400), True),
        ((300, 400), (307, 400), False),
        ((3, 100), (26, 1000), True),  # 2.6 rows, rounded to 3
        ((30, 100), (260, 1000), False),
    ],
)
def test_a_mask_has_its_pictures_shape(mask_size, size, fits):
    if fits:
        check_mask_shape(mask_size, *size)
    else:
        came = f"sky.png is {mask_size[1]}x{mask_size[0]}, another shape than its picture's {size[1]}x{size[0]}"
        with pytest.raises(UserError, match=came):
            check_mask_shape(mask_size, *size, name="sky.png")


def test_guides_of_another_size_are_those_made_there():
    labels = (np.arange(35).reshape(5, 7) % 3).astype(np.uint8)
    it, colours = Regions(labels, ("#000000", "#0000ff", "#ff0000")), ("#ff0000", "#000000")
    whole = guides(it, colours, 5, 7)
    np.testing.assert_allclose(resized_guides(whole, 3, 4), guides(it, colours, 3, 4), atol=1e-7)
    assert resized_guides(whole, 5, 7) is whole


@pytest.mark.parametrize(("pair", "count"), [("in00", 4), ("in17", 2)])
def test_real_masks(pair, count):
    folder = test_data() / "masks"
    content, style = (read_regions(folder / f"{pair}_{which}_mask.png") for which in ("content", "style"))
    common = common_regions(content, [style])
    assert len(common) == count and content.colours == style.colours == common
    for which, found in (("content", content), ("style", style)):
        with Image.open(folder / f"{pair}_{which}_mask.png") as image:
            clean = image.convert("RGB")
        for smaller in (clean, as_jpeg(clean, 75), as_jpeg(clean.resize((150, 120), Image.Resampling.LANCZOS), 75)):
            again = regions_of(array(smaller))
            assert len(again.colours) == count
            shares = guides(again, common, 1, 1)[:, 0, 0]  # in this mask's shades
            np.testing.assert_allclose(shares, found.shares(), atol=0.01)  # what the smearing moves across edges
        check_guides(guides(found, common, 32, 45))
        with pytest.raises(UserError, match="belong to none"):
            read_regions(folder / f"{pair}_{which}.png")
