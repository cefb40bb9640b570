"""What a sweep leaves to look at: the grid of its pictures, its table, its page."""

import csv
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from test_run_report import Page

from nstjax.report import Cell, grid, sweep_page, table

# The grid.

COLOURS = [it for it in itertools.product((0, 128, 255), repeat=3) if len({*it}) > 1]
"""Far apart, and none of them a grey, as the labels are."""

LONG = "/home/somebody/pictures/a folder/a_name_that_does_not_end_" + "x" * 400 + ".png"


def solid(folder, rows, columns, size):
    """[row][column] of picture files, each of one colour, its neighbours of others."""
    files = [[folder / f"{row}-{column}.png" for column in range(columns)] for row in range(rows)]
    for number, file in enumerate(itertools.chain(*files)):
        Image.new("RGB", size, COLOURS[number % len(COLOURS)]).save(file)
    return files


def write_grid(path, pictures, **changes):
    """The grid as an array; all its labels are numbers."""
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


def box(sheet, colour):
    """Top, bottom, left, right of what is of a colour, which fills it."""
    there = (sheet == colour).all(-1)
    ys, xs = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    assert there[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].all()
    return ys[0], ys[-1] + 1, xs[0], xs[-1] + 1


@pytest.mark.parametrize("size", [(40, 30), (200, 320), (900, 600)])
@pytest.mark.parametrize("labels", [{}, {"columns": ["1", LONG, ""], "rows": [LONG, "2"], "row_axis": LONG}])
def test_every_picture_stands_whole_in_its_row_and_column(tmp_path, size, labels):
    sheet = write_grid(tmp_path / "grid.png", solid(tmp_path, 2, 3, size), **labels)
    boxes = np.array([box(sheet, colour) for colour in COLOURS[:6]]).reshape(2, 3, 4)
    width = min(size[0], 320)
    assert (boxes[..., 3] - boxes[..., 2] == width).all()
    assert (boxes[..., 1] - boxes[..., 0] == round(size[1] * width / size[0])).all()
    # Those of a row begin at one height, those of a column at one place, and white is between them.
    assert (boxes[:, :, 0] == boxes[:, :1, 0]).all() and (boxes[:, :, 2] == boxes[:1, :, 2]).all()
    assert (boxes[1, :, 0] - boxes[0, :, 1] >= 12).all() and (boxes[:, 1:, 2] - boxes[:, :-1, 3] >= 12).all()


def ink(sheet):
    """Where letters are: dark, and without a colour."""
    return (sheet.max(-1) < 170) & (np.ptp(sheet, axis=-1) < 10)


def stretches(there, apart):
    """From where to where something is, over gaps that are not so wide."""
    places = np.flatnonzero(there)
    return [slice(it[0], it[-1] + 1) for it in np.split(places, np.flatnonzero(np.diff(places) > apart) + 1)]


@pytest.mark.parametrize("size", [(40, 30), (320, 200)])
def test_labels_stand_beside_the_pictures_and_apart(tmp_path, size):
    """Above, the values of the columns; at the left, those of the rows; and the names of the axes beyond them."""
    columns = ["0.125", "12,500,000", "a file's name", "4"]
    sheet = write_grid(tmp_path / "grid.png", solid(tmp_path, 3, 4, size), columns=columns)
    top, _, left, _ = box(sheet, COLOURS[0])
    letters = ink(sheet)
    assert not letters[top:, left:].any()
    above, beside = letters[:top], letters[top:, :left]
    _, values = stretches(above.any(1), 3)
    assert len(stretches(above[values].any(0), 11)) == 4
    _, values = stretches(beside.any(0), 7)
    assert len(stretches(beside[:, values].any(1), 5)) == 3


def test_a_label_too_long_keeps_its_ends(tmp_path):
    """What is left out of it is in its middle."""
    pictures = solid(tmp_path, 1, 1, (320, 200))

    def labelled(label):
        return write_grid(tmp_path / "grid.png", pictures, columns=[label], row_axis=None, rows=[""])

    sheet = labelled("begin " + "i" * 400 + " end")
    assert np.array_equal(sheet, labelled("begin " + "i" * 900 + " end"))
    assert not np.array_equal(sheet, labelled("begin " + "i" * 400 + " and"))
    assert not np.array_equal(sheet, labelled("began " + "i" * 400 + " end"))


def test_an_empty_place_is_white(tmp_path):
    pictures = solid(tmp_path, 2, 2, (200, 100))
    full = write_grid(tmp_path / "full.png", pictures)
    top, bottom, left, right = box(full, COLOURS[2])
    pictures[1][0] = None
    sheet = write_grid(tmp_path / "grid.png", pictures)
    assert (sheet[top:bottom, left:right] == 255).all()
    full[top:bottom, left:right] = 255
    assert (sheet == full).all()


def test_a_grid_without_a_picture_has_its_labels(tmp_path):
    sheet = write_grid(tmp_path / "grid.png", [[None, None]])
    letters = ink(sheet)
    assert letters[:60].any() and letters[60:, :90].any() and (sheet[60:, 90:] == 255).all()


def test_a_single_row_has_no_labels_at_the_left(tmp_path):
    sheet = write_grid(tmp_path / "grid.png", solid(tmp_path, 1, 4, (100, 60)), row_axis=None, rows=[""])
    top, _, left, _ = box(sheet, COLOURS[0])
    assert left < 60 and ink(sheet[:top]).any() and not ink(sheet[top:]).any()


def test_a_picture_shows_the_paper_where_it_is_transparent(tmp_path):
    Image.new("RGBA", (100, 60), (255, 0, 0, 128)).save(tmp_path / "0.png")
    sheet = write_grid(tmp_path / "grid.png", [[tmp_path / "0.png"]])
    box(sheet, [255, 127, 127])


def test_a_large_grid_has_small_pictures(tmp_path):
    file = tmp_path / "0.png"
    Image.new("RGB", (400, 800), "red").save(file)
    sheet = write_grid(tmp_path / "grid.png", [[file] * 2] * 40, columns=["1", "2"])
    assert max(sheet.shape) < 8_000
    width, height = ((sheet == [255, 0, 0]).all(-1).any(axis).sum() for axis in (0, 1))
    assert (width, height) == (2 * 75, 40 * 150)


def test_letters_beyond_english_are_drawn(tmp_path):
    """They differ from each other, which the boxes of a font without them would not."""
    pictures = solid(tmp_path, 1, 1, (200, 100))
    sheets = [write_grid(tmp_path / "grid.png", pictures, columns=[it], rows=["\udce9"]) for it in ("é", "ß", "×")]
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
        found = [*csv.DictReader(file)]
    assert [*found[0]] == ["member", "loss", "steps", "time", "weight"]
    assert found[0] == {"member": 'a, "b"\nc', "loss": "0.30000000000000004", "steps": "2000", "time": "", "weight": ""}
    assert (found[1]["member"], float(found[1]["loss"]), found[1]["time"]) == ("café", 1e-7, "")
    assert (found[2]["member"], float(found[2]["weight"]), found[2]["loss"]) == ("\\udce9", 5e-324, "")


# The page.

RECORD = {"config": {"loss_weights": {"<i>": 1.0}, "size": None}}


def member(picture, name="a member", href="a/report.html", **facts):
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
    """Two rows of three, of which one is empty and one not finished."""
    files = solid(tmp_path, 2, 3, (800, 400))
    cells = [
        [
            member(file, f"member {row}{column}", f"{row}{column}/report.html", loss=f"0.{row}{column}", time="3 s")
            for column, file in enumerate(line)
        ]
        for row, line in enumerate(files)
    ]
    cells[0][1] = None
    cells[1][2] = member(None, "member 12", "12/report.html", steps="3 of 9")
    return write_sweep(tmp_path / "report.html", cells, facts={"members": "4 of 5"})


def links(found):
    return [attributes["href"] for tag, attributes in found.tags if tag == "a"]


def lines(found):
    """The cells of each line of each table, as text."""
    plain = [re.sub(r"<(?!/?t[dhr])[^>]*>", " ", it) for it in found.text.split("<table")[1:]]
    rows = [re.findall(r"<tr>(.*?)</tr>", it) for it in plain]
    return [
        [[" ".join(cell.split()) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t", it)] for it in row] for row in rows
    ]


def test_a_sweep_page_needs_nothing_beside_it_but_the_members(sweep):
    assert {tag for tag, _ in sweep.tags}.isdisjoint({"script", "link", "iframe", "form"})
    for tag, attributes in sweep.tags:
        assert tag == "a" or "href" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.search(r"https?:|@import|url\(", sweep.text)


def test_every_member_is_linked_from_its_place_and_from_its_line(sweep):
    members = ["00", "02", "10", "11", "12"]
    assert links(sweep) == [f"{it}/report.html" for it in members] * 2
    assert sweep.headings == ["a in the style of b", "Members", "Configuration"]
    assert ">4 of 5</dd>" in sweep.text


def test_a_sweep_page_shows_every_picture_in_its_place(sweep):
    names = [attributes["alt"] for tag, attributes in sweep.tags if tag == "img"]
    assert names == ["member 00", "member 02", "member 10", "member 11"]
    for picture, number in zip(sweep.pictures(), (0, 2, 3, 4), strict=True):
        assert picture.size == (480, 240)
        assert np.abs(np.asarray(picture).astype(int) - COLOURS[number]).max() <= 8
    assert lines(sweep)[0] == [
        ["content weight", "style weight"],
        ["1", "10", "100"],
        ["0.0", "loss 0.00", "", "loss 0.02"],
        ["0.125", "loss 0.10", "loss 0.11", "not finished steps 3 of 9"],
    ]


def test_the_members_table_has_every_fact(sweep):
    assert lines(sweep)[1] == [
        ["member", "content weight", "style weight", "loss", "time", "steps"],
        ["member 00", "0.0", "1", "0.00", "3 s", ""],
        ["member 02", "0.0", "100", "0.02", "3 s", ""],
        ["member 10", "0.125", "1", "0.10", "3 s", ""],
        ["member 11", "0.125", "10", "0.11", "3 s", ""],
        ["member 12", "0.125", "100", "", "", "3 of 9"],
    ]


def test_a_sweep_along_one_axis_is_a_single_row(tmp_path):
    file = solid(tmp_path, 1, 1, (40, 30))[0][0]
    found = write_sweep(tmp_path / "report.html", [[member(file), member(file)]], row_axis=None, rows=[""])
    assert lines(found) == [
        [["style weight"], ["1", "10"], ["", ""]],
        [["member", "style weight"], ["a member", "1"], ["a member", "10"]],
    ]
    assert [it.size for it in found.pictures()] == [(40, 30)] * 2
    nothing = write_sweep(tmp_path / "nothing.html", [[member(None)]])
    assert lines(nothing)[0][2] == ["0.0", "not finished"] and links(nothing) == ["a/report.html"] * 2


def test_names_are_text_on_a_sweep_page(tmp_path):
    evil = "<script>alert(\"1\")</script> & '$title' \udce9"
    file = solid(tmp_path, 1, 1, (40, 30))[0][0]
    cells = [[Cell(evil, file, f"{evil}/#?%", {evil: evil}), Cell(evil, None, "javascript:alert(1)", {})]]
    names = {"title": evil, "column_axis": evil, "columns": [evil] * 2, "row_axis": "<u>", "rows": ["<s>"]}
    found = write_sweep(tmp_path / "report.html", cells, facts={evil: evil}, record={"config": {evil: evil}}, **names)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "u", "s"})
    assert next(attributes["alt"] for tag, attributes in found.tags if tag == "img") == evil.replace("\udce9", "\ufffd")
    assert found.headings[0].startswith(evil[:-1])
    assert "&lt;u&gt;" in found.text and "&lt;s&gt;" in found.text
    first, second = links(found)[:2]
    assert re.fullmatch(r"[\w%/=,.~-]+", first) and first.endswith("%E9/%23%3F%25")
    assert second == "javascript%3Aalert%281%29"
