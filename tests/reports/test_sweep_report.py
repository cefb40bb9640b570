"""The report of a sweep: the grid of its pictures, its table, its page."""

import csv
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from test_run_report import Page

from nstjax.reports import Cell, grid, sweep_page, table

# The grid.

COLOURS = [colour for colour in itertools.product((0, 128, 255), repeat=3) if len({*colour}) > 1]
"""Colours that are far apart; none is grey, as the labels are."""

LONG = "/home/somebody/pictures/a folder/a_name_that_does_not_end_" + "x" * 400 + ".png"


def draw_solid_pictures(folder, rows, columns, size):
    """Return picture files [row][column], each of one colour that its neighbours do not have."""
    files = [[folder / f"{row}-{column}.png" for column in range(columns)] for row in range(rows)]
    for number, file in enumerate(itertools.chain(*files)):
        Image.new("RGB", size, COLOURS[number % len(COLOURS)]).save(file)
    return files


def write_grid(path, pictures, **changes):
    """Write a grid, labelled with numbers, and return it as an array."""
    rows, columns = len(pictures), len(pictures[0])
    arguments = {
        "column_axis": "style weight",
        "columns": [f"{10**column:,}" for column in range(columns)],
        "row_axis": "content weight",
        "rows": [f"{row / 8}" for row in range(rows)],
    }
    grid(path, pictures=pictures, **{**arguments, **changes})
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image).astype(int)


def find_box(sheet, colour):
    """Return the top, bottom, left and right of the box that a colour fills."""
    matches = (sheet == colour).all(-1)
    ys, xs = np.flatnonzero(matches.any(1)), np.flatnonzero(matches.any(0))
    assert matches[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].all()
    return ys[0], ys[-1] + 1, xs[0], xs[-1] + 1


@pytest.mark.parametrize("size", [(40, 30), (200, 320), (900, 600)])
@pytest.mark.parametrize("labels", [{}, {"columns": ["1", LONG, ""], "rows": [LONG, "2"], "row_axis": LONG}])
def test_every_picture_is_whole_and_in_its_row_and_column(tmp_path, size, labels):
    sheet = write_grid(tmp_path / "grid.png", draw_solid_pictures(tmp_path, 2, 3, size), **labels)
    boxes = np.array([find_box(sheet, colour) for colour in COLOURS[:6]]).reshape(2, 3, 4)
    width = min(size[0], 320)
    assert (boxes[..., 3] - boxes[..., 2] == width).all()
    assert (boxes[..., 1] - boxes[..., 0] == round(size[1] * width / size[0])).all()
    # The pictures of a row have the same top, those of a column the same left, and white is between them.
    assert (boxes[:, :, 0] == boxes[:, :1, 0]).all() and (boxes[:, :, 2] == boxes[:1, :, 2]).all()
    assert (boxes[1, :, 0] - boxes[0, :, 1] >= 12).all() and (boxes[:, 1:, 2] - boxes[:, :-1, 3] >= 12).all()


def test_pictures_that_fit_are_not_resampled(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 53, 71, 3), dtype=np.uint8)
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file, pixels in zip(files, noise, strict=True):
        Image.fromarray(pixels).save(file)
    sheet = write_grid(tmp_path / "grid.png", [files[:2], files[2:]])
    coloured = np.ptp(sheet, axis=-1) > 0
    ys, xs = find_stretches(coloured.any(1), 5), find_stretches(coloured.any(0), 5)
    cells = [sheet[y, x] for y, x in itertools.product(ys, xs)]
    np.testing.assert_array_equal(cells, noise)


def test_a_grid_neither_follows_nor_changes_the_settings_of_matplotlib(tmp_path):
    import matplotlib

    pictures = draw_solid_pictures(tmp_path, 2, 2, (40, 30))
    expected = write_grid(tmp_path / "grid.png", pictures)
    settings = {"font.size": 30, "text.color": "red", "figure.facecolor": "blue", "figure.dpi": 300}
    with matplotlib.rc_context({**settings, "text.usetex": True, "figure.autolayout": True}):
        before = dict(matplotlib.rcParams)
        sheet = write_grid(tmp_path / "grid.png", pictures)
        assert dict(matplotlib.rcParams) == before
    np.testing.assert_array_equal(sheet, expected)


def find_ink(sheet):
    """Return where letters are: pixels that are dark and grey."""
    return (sheet.max(-1) < 170) & (np.ptp(sheet, axis=-1) < 10)


def find_stretches(mask, gap):
    """Return the slices of a mask that are separated by more than a gap."""
    indices = np.flatnonzero(mask)
    groups = np.split(indices, np.flatnonzero(np.diff(indices) > gap) + 1)
    return [slice(group[0], group[-1] + 1) for group in groups]


@pytest.mark.parametrize("size", [(40, 30), (320, 200)])
def test_labels_are_next_to_the_pictures_and_apart(tmp_path, size):
    """The values of the columns are above, those of the rows on the left, and the names of the axes beyond them."""
    columns = ["0.125", "12,500,000", "a file's name", "4"]
    sheet = write_grid(tmp_path / "grid.png", draw_solid_pictures(tmp_path, 3, 4, size), columns=columns)
    top, _, left, _ = find_box(sheet, COLOURS[0])
    letters = find_ink(sheet)
    assert not letters[top:, left:].any()
    above, at_left = letters[:top], letters[top:, :left]
    _, values = find_stretches(above.any(1), 3)
    assert len(find_stretches(above[values].any(0), 11)) == 4
    _, values = find_stretches(at_left.any(0), 7)
    assert len(find_stretches(at_left[:, values].any(1), 5)) == 3


def test_a_long_label_keeps_its_ends(tmp_path):
    """The middle of the label is left out."""
    pictures = draw_solid_pictures(tmp_path, 1, 1, (320, 200))

    def labelled(label):
        return write_grid(tmp_path / "grid.png", pictures, columns=[label], row_axis=None, rows=[""])

    sheet = labelled("begin " + "i" * 400 + " end")
    assert np.array_equal(sheet, labelled("begin " + "i" * 900 + " end"))
    assert not np.array_equal(sheet, labelled("begin " + "i" * 400 + " and"))
    assert not np.array_equal(sheet, labelled("began " + "i" * 400 + " end"))


def test_an_empty_cell_is_white(tmp_path):
    pictures = draw_solid_pictures(tmp_path, 2, 2, (200, 100))
    full = write_grid(tmp_path / "full.png", pictures)
    top, bottom, left, right = find_box(full, COLOURS[2])
    pictures[1][0] = None
    sheet = write_grid(tmp_path / "grid.png", pictures)
    assert (sheet[top:bottom, left:right] == 255).all()
    full[top:bottom, left:right] = 255
    assert (sheet == full).all()


def test_a_grid_without_pictures_has_its_labels(tmp_path):
    sheet = write_grid(tmp_path / "grid.png", [[None, None]])
    letters = find_ink(sheet)
    assert letters[:60].any() and letters[60:, :90].any() and (sheet[60:, 90:] == 255).all()


def test_a_single_row_has_no_label(tmp_path):
    sheet = write_grid(tmp_path / "grid.png", draw_solid_pictures(tmp_path, 1, 4, (100, 60)), row_axis=None, rows=[""])
    top, _, left, _ = find_box(sheet, COLOURS[0])
    assert left < 60 and find_ink(sheet[:top]).any() and not find_ink(sheet[top:]).any()


def test_white_shows_through_a_transparent_picture(tmp_path):
    Image.new("RGBA", (100, 60), (255, 0, 0, 128)).save(tmp_path / "0.png")
    sheet = write_grid(tmp_path / "grid.png", [[tmp_path / "0.png"]])
    find_box(sheet, [255, 127, 127])


def test_a_large_grid_has_small_pictures(tmp_path):
    file = tmp_path / "0.png"
    Image.new("RGB", (400, 800), "red").save(file)
    sheet = write_grid(tmp_path / "grid.png", [[file] * 2] * 40, columns=["1", "2"])
    assert max(sheet.shape) < 8_000
    width, height = ((sheet == [255, 0, 0]).all(-1).any(axis).sum() for axis in (0, 1))
    assert (width, height) == (2 * 75, 40 * 150)


def test_signs_without_a_glyph_and_formulas_are_drawn_as_text(tmp_path):
    pictures = draw_solid_pictures(tmp_path, 1, 1, (200, 100))
    sheets = [
        write_grid(tmp_path / "grid.png", pictures, columns=[text]) for text in ("日本", "\U0001f600", "$x^2$", "x²")
    ]
    assert all(find_ink(sheet[60:]).any() for sheet in sheets)
    assert sheets[2].shape != sheets[3].shape or (sheets[2] != sheets[3]).any()


def test_letters_beyond_english_are_drawn(tmp_path):
    """The letters differ from each other; the signs for missing letters would not."""
    pictures = draw_solid_pictures(tmp_path, 1, 1, (200, 100))
    sheets = [
        write_grid(tmp_path / "grid.png", pictures, columns=[letter], rows=["\udce9"]) for letter in ("é", "ß", "×")
    ]
    assert not any(a.shape == b.shape and (a == b).all() for a, b in itertools.combinations(sheets, 2))


# The table.


def test_a_table_is_read_back(tmp_path):
    rows = [
        {"member": 'a, "b"\nc', "loss": 0.1 + 0.2, "steps": 2_000},
        {"member": "café", "steps": 10, "time": None, "loss": 1e-7},
        {"weight": 5e-324, "member": "\udce9"},
    ]
    table(tmp_path / "table.csv", rows)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        lines = [*csv.DictReader(file)]
    assert [*lines[0]] == ["member", "loss", "steps", "time", "weight"]
    assert lines[0] == {"member": 'a, "b"\nc', "loss": "0.30000000000000004", "steps": "2000", "time": "", "weight": ""}
    assert (lines[1]["member"], float(lines[1]["loss"]), lines[1]["time"]) == ("café", 1e-7, "")
    assert (lines[2]["member"], float(lines[2]["weight"]), lines[2]["loss"]) == ("\\udce9", 5e-324, "")


# The page.

RECORD = {"config": {"loss_weights": {"<i>": 1.0}, "sizes": []}}


def make_cell(picture, name="a member", href="a/report.html", **facts):
    return Cell(name=name, picture=picture, href=href, facts=facts)


def write_sweep(path, cells, **changes):
    rows, columns = len(cells), len(cells[0])
    arguments = {
        "title": "a in the style of b",
        "facts": {},
        "record": RECORD,
        "column_axis": "style weight",
        "columns": [f"{10**column:,}" for column in range(columns)],
        "row_axis": "content weight",
        "rows": [f"{row / 8}" for row in range(rows)],
    }
    sweep_page(path, cells=cells, **{**arguments, **changes})
    return Page(path)


@pytest.fixture
def sweep(tmp_path):
    """Return a page with two rows of three cells, of which one is empty and one not finished."""
    files = draw_solid_pictures(tmp_path, 2, 3, (800, 400))
    cells = [
        [
            make_cell(file, f"member {row}{column}", f"{row}{column}/report.html", loss=f"0.{row}{column}", time="3 s")
            for column, file in enumerate(row_files)
        ]
        for row, row_files in enumerate(files)
    ]
    cells[0][1] = None
    cells[1][2] = make_cell(None, "member 12", "12/report.html", steps="3 of 9")
    return write_sweep(tmp_path / "report.html", cells, facts={"members": "4 of 5"})


def list_links(written):
    return [attributes["href"] for tag, attributes in written.tags if tag == "a"]


def read_tables(written):
    """Return the texts [table][line][cell] of the tables of a page."""
    plain = [re.sub(r"<(?!/?t[dhr])[^>]*>", " ", table) for table in written.text.split("<table")[1:]]
    tables = [re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) for table in plain]
    return [
        [[" ".join(cell.split()) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t", line, re.DOTALL)] for line in lines]
        for lines in tables
    ]


def test_a_sweep_page_needs_no_other_file_and_links_to_the_members(sweep):
    assert {tag for tag, _ in sweep.tags}.isdisjoint({"script", "link", "iframe", "form"})
    for tag, attributes in sweep.tags:
        assert tag == "a" or "href" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.search(r"https?:|@import|url\(", sweep.text)


def test_every_member_is_linked_from_the_grid_and_from_the_table(sweep):
    members = ["00", "02", "10", "11", "12"]
    assert list_links(sweep) == [f"{name}/report.html" for name in members] * 2
    assert sweep.headings == ["a in the style of b", "Members", "Configuration"]
    assert ">4 of 5</dd>" in sweep.text


def test_a_sweep_page_shows_every_picture_in_its_cell(sweep):
    names = [attributes["alt"] for tag, attributes in sweep.tags if tag == "img"]
    assert names == ["member 00", "member 02", "member 10", "member 11"]
    for picture, number in zip(sweep.pictures(), (0, 2, 3, 4), strict=True):
        assert picture.size == (480, 240)
        assert np.abs(np.asarray(picture).astype(int) - COLOURS[number]).max() <= 8
    assert read_tables(sweep)[0] == [
        ["content weight", "style weight"],
        ["1", "10", "100"],
        ["0.0", "loss 0.00", "", "loss 0.02"],
        ["0.125", "loss 0.10", "loss 0.11", "not finished steps 3 of 9"],
    ]


def test_the_members_table_has_every_fact(sweep):
    assert read_tables(sweep)[1] == [
        ["member", "content weight", "style weight", "loss", "time", "steps"],
        ["member 00", "0.0", "1", "0.00", "3 s", ""],
        ["member 02", "0.0", "100", "0.02", "3 s", ""],
        ["member 10", "0.125", "1", "0.10", "3 s", ""],
        ["member 11", "0.125", "10", "0.11", "3 s", ""],
        ["member 12", "0.125", "100", "", "", "3 of 9"],
    ]


def test_a_sweep_along_one_axis_is_a_single_row(tmp_path):
    file = draw_solid_pictures(tmp_path, 1, 1, (40, 30))[0][0]
    written = write_sweep(tmp_path / "report.html", [[make_cell(file), make_cell(file)]], row_axis=None, rows=[""])
    assert read_tables(written) == [
        [["style weight"], ["1", "10"], ["", ""]],
        [["member", "style weight"], ["a member", "1"], ["a member", "10"]],
    ]
    assert [picture.size for picture in written.pictures()] == [(40, 30)] * 2
    nothing = write_sweep(tmp_path / "nothing.html", [[make_cell(None)]])
    assert read_tables(nothing)[0][2] == ["0.0", "not finished"] and list_links(nothing) == ["a/report.html"] * 2


def test_names_are_text_on_a_sweep_page(tmp_path):
    evil = "<script>alert(\"1\")</script> & '$title' \udce9"
    file = draw_solid_pictures(tmp_path, 1, 1, (40, 30))[0][0]
    cells = [[Cell(evil, file, f"{evil}/#?%", {evil: evil}), Cell(evil, None, "javascript:alert(1)", {})]]
    names = {"title": evil, "column_axis": evil, "columns": [evil] * 2, "row_axis": "<u>", "rows": ["<s>"]}
    written = write_sweep(tmp_path / "report.html", cells, facts={evil: evil}, record={"config": {evil: evil}}, **names)
    assert {tag for tag, _ in written.tags}.isdisjoint({"script", "u", "s"})
    assert next(attributes["alt"] for tag, attributes in written.tags if tag == "img") == evil.replace(
        "\udce9", "\ufffd"
    )
    assert written.headings[0].startswith(evil[:-1])
    assert "&lt;u&gt;" in written.text and "&lt;s&gt;" in written.text
    first, second = list_links(written)[:2]
    assert re.fullmatch(r"[\w%/=,.~-]+", first) and first.endswith("%E9/%23%3F%25")
    assert second == "javascript%3Aalert%281%29"
