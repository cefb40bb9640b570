"""Region masks: the regions found in mask files, and the guides made from them."""

import io

import numpy as np
import pytest
from conftest import find_test_data, smooth_picture
from PIL import Image, ImageFilter

from nstjax.errors import UserError
from nstjax.images import (
    Regions,
    check_guides,
    check_mask_shape,
    find_common_colours,
    find_regions,
    make_guides,
    make_uniform_regions,
    read_regions,
    resize_guides,
    resizing,
)

RED, GREEN, BLUE, BLACK = "#ff0000", "#00ff00", "#0000ff", "#000000"


def paint(labels: np.ndarray, colours: list[str]) -> Image.Image:
    palette = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.uint8)
    return Image.fromarray(palette[labels])


def paint_mask(size: int = 96) -> tuple[np.ndarray, Image.Image]:
    """Return labels and picture of three regions with slanted and round edges."""
    y, x = np.mgrid[:size, :size] / size
    labels = np.where(x + 0.3 * y < 0.5, 0, 1)
    labels[(x - 0.7) ** 2 + (y - 0.6) ** 2 < 0.04] = 2
    return labels, paint(labels, [BLACK, RED, "#808000"])


def to_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def compress_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def make_regions(labels: list[list[int]], *colours: str) -> Regions:
    return Regions(np.array(labels, np.uint8), colours)


def test_a_clean_mask_gives_its_labels_and_its_colours_sorted(tmp_path):
    labels, image = paint_mask()
    image.save(tmp_path / "mask.png")
    regions = read_regions(tmp_path / "mask.png")
    assert regions.colours == (BLACK, "#808000", RED)
    np.testing.assert_array_equal(regions.labels, np.array([0, 2, 1])[labels])
    assert regions.labels.dtype == np.uint8
    np.testing.assert_allclose(regions.shares(), [(labels == i).mean() for i in (0, 2, 1)])


@pytest.mark.parametrize(
    "degrade",
    [
        lambda image: compress_jpeg(image, 90),
        lambda image: compress_jpeg(image, 50),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.resize((288, 288), Image.Resampling.BICUBIC).resize((96, 96), Image.Resampling.LANCZOS),
    ],
    ids=["jpeg 90", "jpeg 50", "blurred", "resized"],
)
def test_blurred_edges_and_similar_colours_add_no_regions(degrade):
    labels, image = paint_mask()
    regions = find_regions(to_array(degrade(image)))
    assert len(regions.colours) == 3
    for colour, clean in zip(regions.colours, (BLACK, "#808000", RED), strict=True):
        assert np.ptp(np.frombuffer(bytes.fromhex(colour[1:] + clean[1:]), np.uint8).reshape(2, 3), axis=0).max() <= 4
    # Along an edge of two colours a third may be the nearer one, and JPEG keeps colour at half the resolution.
    assert (regions.labels == np.array([0, 2, 1])[labels]).mean() > 0.96


def test_bands_of_rows_give_the_same_regions_and_guides(monkeypatch):
    picture = to_array(compress_jpeg(paint_mask()[1].filter(ImageFilter.GaussianBlur(1)), 60))
    whole = find_regions(picture)
    guides = make_guides(whole, whole.colours, 17, 120)
    monkeypatch.setattr(resizing, "_BAND", 5 * 96)
    banded = find_regions(picture)
    assert whole.colours == banded.colours
    np.testing.assert_array_equal(whole.labels, banded.labels)
    np.testing.assert_array_equal(guides, make_guides(banded, banded.colours, 17, 120))


def test_a_thin_line_of_another_colour_is_not_a_region():
    labels = np.zeros((20, 30), int)
    labels[:, 15:] = 1
    labels[:, 14] = 2
    regions = find_regions(to_array(paint(labels, [BLACK, "#ffffff", "#606060"])))
    assert regions.colours == (BLACK, "#ffffff")
    np.testing.assert_array_equal(regions.labels, labels == 1)  # the grey is nearer to black


def test_photographs_and_other_pictures_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"1 to 32 flat colours.*have none of them: is it a photograph"):
        find_regions(smooth_picture(60, 80))
    with pytest.raises(UserError, match=r"100% of its pixels have none of them"):
        find_regions(np.random.default_rng(0).uniform(0, 1, (20, 20, 3)).astype(np.float32))
    Image.fromarray((smooth_picture(60, 80) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"photo\.png: expected a mask") as error:
        read_regions(tmp_path / "photo.png")
    assert "\n" not in str(error.value)


def test_more_than_32_regions_are_refused():
    steps = np.arange(36)
    palette = [f"#{51 * (i % 6):02x}{51 * (i // 6):02x}00" for i in steps]
    squares = np.kron(steps.reshape(6, 6), np.ones((6, 6), int))
    with pytest.raises(UserError, match=r"1 to 32 flat colours.*has more"):
        find_regions(to_array(paint(squares, palette)))


def test_labels_stored_as_small_numbers_are_refused():
    numbers = np.kron(np.arange(4).reshape(2, 2), np.ones((8, 8), int)).astype(np.uint8)
    with pytest.raises(UserError, match=r"its 4 colours are too similar: paint"):
        find_regions(to_array(Image.fromarray(numbers)))


def test_a_transparent_mask_is_refused(tmp_path):
    image = paint_mask()[1].convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))))
    image.save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"partly transparent: expected a mask with a colour everywhere"):
        read_regions(tmp_path / "mask.png")


@pytest.mark.parametrize(("word", "colour"), [("black", BLACK), ("#f00", RED), ("Lime", GREEN), ("#0000ff80", BLUE)])
def test_the_name_of_a_colour_is_a_region_of_the_whole_picture(word, colour):
    regions = make_uniform_regions(word, 3, 5)
    assert regions.colours == (colour,) and regions.shares() == (1,)
    np.testing.assert_array_equal(make_guides(regions, (colour,), 2, 2), np.ones((1, 2, 2)))


def test_an_unknown_colour_is_refused():
    with pytest.raises(UserError, match=r"as black or #ff0000, got 'blakc'"):
        make_uniform_regions("blakc", 3, 5)


def test_guides_are_the_covered_shares_of_each_position():
    four = make_regions([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 2, 2]], BLUE, GREEN, RED)
    guides = make_guides(four, (RED, BLUE, GREEN), 1, 2)
    assert guides.dtype == np.float32
    np.testing.assert_allclose(guides[:, 0], [[0, 1 / 3], [5 / 6, 0], [1 / 6, 2 / 3]], atol=1e-7)
    # A position covers 4/3 columns: of the middle one, a third of column 1 and as much of each neighbour it cuts.
    np.testing.assert_allclose(make_guides(four, (BLUE,), 3, 3)[0, 1], [0.75, 0, 0], atol=1e-7)
    np.testing.assert_allclose(make_guides(four, (BLUE,), 3, 3)[0, 0], [1, 0.5, 0], atol=1e-7)


def test_enlarged_guides_are_the_nearest_labels():
    two = make_regions([[0, 1], [1, 0]], BLUE, RED)
    np.testing.assert_array_equal(make_guides(two, (RED,), 4, 2)[0], [[0, 1], [0, 1], [1, 0], [1, 0]])
    np.testing.assert_array_equal(make_guides(two, (RED,), 2, 2)[0], [[0, 1], [1, 0]])
    np.testing.assert_allclose(make_guides(two, (RED,), 4, 1)[0], np.full((4, 1), 0.5))


@pytest.mark.parametrize("size", [(96, 96), (13, 47), (1, 1), (7, 200)])
def test_guides_sum_to_one_at_every_position(size):
    regions = find_regions(to_array(paint_mask()[1]))
    shares = make_guides(regions, regions.colours, *size)
    assert shares.min() >= 0 and shares.max() <= 1
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)  # float32's rounding
    check_guides(shares)
    if size == (1, 1):
        np.testing.assert_allclose(shares[:, 0, 0], regions.shares(), atol=1e-7)


def test_the_common_colours_are_those_of_the_content_mask():
    content, style = make_regions([[0, 1]], BLACK, RED), make_regions([[0, 1, 2]], BLACK, BLUE, RED)
    assert find_common_colours(content, [style]) == (BLACK, RED)
    np.testing.assert_array_equal(make_guides(style, (BLACK, RED), 1, 3)[:, 0], [[1, 0, 0], [0, 0, 1]])


def test_each_region_may_be_in_a_different_style_mask():
    content = make_regions([[0, 1]], BLACK, RED)
    one, other = make_regions([[0]], BLACK), make_regions([[0, 1]], GREEN, RED)
    assert find_common_colours(content, [one, other]) == (BLACK, RED)
    np.testing.assert_array_equal(make_guides(one, (BLACK, RED), 1, 1)[:, 0, 0], [1, 0])


def test_slightly_different_shades_are_the_same_region():
    content, style = make_regions([[0, 1]], "#030005", "#7f8000"), make_regions([[0, 1, 1]], "#000000", "#868109")
    common = find_common_colours(content, [style])
    assert common == content.colours
    np.testing.assert_array_equal(make_guides(style, common, 1, 3)[:, 0], [[1, 0, 0], [0, 1, 1]])


def test_one_style_region_matches_only_one_content_region():
    content, style = make_regions([[0, 1]], "#000000", "#101010"), make_regions([[0, 1]], "#000000", "#ffffff")
    with pytest.raises(UserError, match=r"region #101010 of the content mask \(50.0%"):
        find_common_colours(content, [style])


def test_a_region_in_no_style_mask_is_named_with_its_share():
    content, style = make_regions([[0, 0, 0, 1]], BLACK, RED), make_regions([[0, 1]], BLACK, BLUE)
    with pytest.raises(UserError, match=rf"{RED} of the content mask \(25\.0% .* are {BLACK}, {BLUE}: paint") as error:
        find_common_colours(content, [style, style])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3, 4), 0.5, np.float32)[:, :, 0], r"float array \[regions, H, W\].*float32 \[2, 3\]"),
        (np.ones((1, 3, 4), np.uint8), r"float array.*uint8 \[1, 3, 4\]"),
        (np.ones((0, 3, 4), np.float32), r"\[0, 3, 4\]"),
        (np.full((1, 3, 4), 255.0), r"guides in \[0, 1\], got 255 to 255: divide by 255"),
        (np.full((1, 3, 4), np.nan), r"guides in \[0, 1\], got nan"),
        (np.stack([np.ones((2, 2)), np.eye(2)]), r"overlap at 50\.0% of the positions.*sum to as much as 2"),
        (np.eye(4)[None], r"do not cover 75\.0% of the positions.*sum to as little as 0"),
    ],
    ids=["rank", "integers", "no regions", "levels", "nan", "overlap", "not covered"],
)
def test_invalid_guides_are_refused(array, message):
    with pytest.raises(UserError, match=message):
        check_guides(array)


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
def test_a_mask_must_have_the_shape_of_its_picture(mask_size, size, fits):
    if fits:
        check_mask_shape(mask_size, *size)
    else:
        message = f"sky.png is {mask_size[1]}x{mask_size[0]}, another shape than its picture's {size[1]}x{size[0]}"
        with pytest.raises(UserError, match=message):
            check_mask_shape(mask_size, *size, name="sky.png")


def test_resized_guides_equal_guides_made_at_that_size():
    labels = (np.arange(35).reshape(5, 7) % 3).astype(np.uint8)
    regions, colours = Regions(labels, ("#000000", "#0000ff", "#ff0000")), ("#ff0000", "#000000")
    whole = make_guides(regions, colours, 5, 7)
    np.testing.assert_allclose(resize_guides(whole, 3, 4), make_guides(regions, colours, 3, 4), atol=1e-7)
    assert resize_guides(whole, 5, 7) is whole


@pytest.mark.parametrize(("pair", "count"), [("in00", 4), ("in17", 2)])
def test_the_regions_of_real_masks_are_found(pair, count):
    folder = find_test_data() / "masks"
    content, style = (read_regions(folder / f"{pair}_{name}_mask.png") for name in ("content", "style"))
    common = find_common_colours(content, [style])
    assert len(common) == count and content.colours == style.colours == common
    for name, regions in (("content", content), ("style", style)):
        with Image.open(folder / f"{pair}_{name}_mask.png") as image:
            clean = image.convert("RGB")
        for degraded in (
            clean,
            compress_jpeg(clean, 75),
            compress_jpeg(clean.resize((150, 120), Image.Resampling.LANCZOS), 75),
        ):
            again = find_regions(to_array(degraded))
            assert len(again.colours) == count
            shares = make_guides(again, common, 1, 1)[:, 0, 0]  # in this mask's shades
            np.testing.assert_allclose(shares, regions.shares(), atol=0.01)  # blurring moves edges a little
        check_guides(make_guides(regions, common, 32, 45))
        with pytest.raises(UserError, match="have none of them"):
            read_regions(folder / f"{pair}_{name}.png")
