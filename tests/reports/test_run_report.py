import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from quick_run import QUICK

from nstjax.cli import main
from nstjax.reports import contact_sheet, curves, page


@pytest.mark.parametrize("size", [(40, 30), (200, 120), (900, 600)])
def test_every_picture_has_a_label_above_it(tmp_path, size):
    """Red pictures: all are whole and apart from each other, and their labels do not touch."""
    steps = [3_000, 9_000, 17_000, 23_000, 30_000]
    for step in steps:
        Image.new("RGB", size, "red").save(tmp_path / f"{step}.png")
    contact_sheet(tmp_path / "sheet.png", {step: tmp_path / f"{step}.png" for step in steps})
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    red = (sheet == [255, 0, 0]).all(-1)
    width = min(size[0], 320)
    assert red.sum() == 5 * width * round(size[1] * width / size[0])
    # The labels of the first row are above its pictures, with white columns between them.
    ink = (sheet[: np.argmax(red.any(1))].sum(-1) < 600).any(0)
    gaps = np.diff(np.flatnonzero(ink))
    assert (gaps >= 10).sum() == 2  # three labels in a row; no gap inside a label is as wide


def metrics(points, **terms):
    """Return a total that falls, the given terms, and the times that a run logs with them."""
    steps = list(range(points))
    times = {name: [1.5] * points for name in ("seconds_per_step", "wall_seconds", "cpu_seconds")}
    return {"step": steps, "total": [1e6 / (1 + step) for step in steps], **terms, **times}


def read_texts(svg):
    return {element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


NAN = float("nan")


@pytest.mark.parametrize(
    ("points", "terms"),
    [
        (1, {"content": [0.0], "style": [2e-7], "tv": [-3.0]}),
        (3, {"content": [1.0, None, 2.0], "style": [NAN, 1.0, float("inf")], "$tv_1$ <&>": [0.0, -1.0, -1e5]}),
        (3, {"content": [None] * 3, "style": [7.0] * 3}),
        (20, {"content": [10.0 ** (5 - step) for step in range(20)], "style": [0.0] * 20}),
        (30_000, {"content": [step % 7 + 1 for step in range(30_000)], "style": [5.0] * 29_999 + [None]}),
    ],
)
def test_curves_show_every_term_and_no_times(tmp_path, points, terms):
    for name in ("a.svg", "b.svg"):
        curves(tmp_path / name, metrics(points, **terms))
    svg = (tmp_path / "a.svg").read_bytes()
    assert svg == (tmp_path / "b.svg").read_bytes()
    assert len(svg) < 200_000
    assert {"total", "step", *terms} <= read_texts(svg)
    assert b"seconds" not in svg
    # The only addresses are the names of the format.
    assert set(re.findall(rb"http[^\"]*", svg)) == {
        b"http://www.w3.org/2000/svg",
        b"http://www.w3.org/1999/xlink",
        b"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd",
    }


def test_equal_metrics_give_equal_curves(tmp_path):
    """The addresses of objects differ between the drawings, as they do between processes."""
    generator, kept, drawn = np.random.default_rng(0), [], set()
    many = {f"term {number}": [1.0, 2.0 + number, 3.0] for number in range(4)}
    for _ in range(12):
        curves(tmp_path / "curves.svg", metrics(3, **many))
        drawn.add((tmp_path / "curves.svg").read_bytes())
        kept.append([object() for _ in range(generator.integers(3_000))])
    assert len(drawn) == 1


def test_curves_leave_the_settings_of_matplotlib_unchanged(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves(tmp_path / "curves.svg", metrics(3))
    assert dict(matplotlib.rcParams) == before


def read_heights(svg):
    """Return the heights of the points of the longest line, upwards from the bottom."""
    lines = [re.findall(r"[ML] (\S+) (\S+)", element.get("d", "")) for element in ElementTree.fromstring(svg).iter()]
    return -np.array(max(lines, key=len), dtype=float)[:, 1]


def test_a_peak_of_one_step_in_a_long_run_is_drawn(tmp_path):
    values = [1.0] * 30_000
    values[12_345] = 3.0
    flat = [1.0 + step % 2 / 10 for step in range(30_000)]
    for name, total in (("peak", [a + b for a, b in zip(values, flat, strict=True)]), ("flat", flat)):
        curves(tmp_path / f"{name}.svg", {"step": range(30_000), "total": total})
    heights = read_heights((tmp_path / "peak.svg").read_text())
    assert 900 <= len(heights) <= 1_100
    assert (heights > (heights.min() + heights.max()) / 2).sum() == 1
    heights = read_heights((tmp_path / "flat.svg").read_text())
    assert abs((heights > (heights.min() + heights.max()) / 2).mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([1e-2, 1.0, 1e3], True),
        ([0.0, 1.0, 1e3], False),
        ([-1.0, 1.0, 1e3], False),
        ([2.0, 3.0, 4.0], False),
        ([1e-13, 1.0, 2.0], False),
    ],
)
def test_an_axis_is_logarithmic_where_values_are_positive_and_far_apart(tmp_path, values, logarithmic):
    curves(tmp_path / "curves.svg", {"step": range(6), "total": 2 * values})
    bottom, middle, top = read_heights((tmp_path / "curves.svg").read_text())[:3]
    share = (np.log(values) - np.log(values[0])) if logarithmic else (np.array(values) - values[0])
    np.testing.assert_allclose((middle - bottom) / (top - bottom), share[1] / share[2], atol=1e-4)


class Page(HTMLParser):
    """The content of a page; fails if a tag is not closed."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.headings, self.text = [], [], [], path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)

    def pictures(self):
        for tag, attributes in self.tags:
            if tag == "img":
                kind, data = attributes["src"].split(",")
                assert kind == "data:image/webp;base64"
                yield Image.open(io.BytesIO(base64.b64decode(data)))


RECORD = {
    "schema": 1,
    "experiment": {"name": "<b>mine</b>", "sha256": "00"},
    "config": {"loss_weights": {"content": 0.125, "<i>": 1.0}, "layers": {}, "sizes": [], "clamp": True},
    "weights": {"source": "https://example.org/weights.h5"},
}


def write_page(path, **changes):
    arguments = {
        "title": "a in the style of b",
        "record": RECORD,
        "facts": {},
        "content": np.zeros((30, 40, 3), np.float32),
        "styles": [np.ones((50, 20, 3), np.float32)],
        "regions": None,
        "result": None,
        "snapshots": {},
        "curves": None,
    }
    page(path, **{**arguments, **changes})
    return Page(path)


@pytest.fixture
def full(tmp_path):
    """Return a page with all its parts."""
    for step in (0, 3_000):
        Image.new("RGB", (40, 30), (step // 100, 0, 0)).save(tmp_path / f"{step}.png")
    curves(tmp_path / "curves.svg", metrics(3, content=[1.0, None, 2.0]))
    return write_page(
        tmp_path / "report.html",
        title='<script>alert(1)</script> & "b"',
        facts={"steps": "30,000 of 30,000", "<u>": "<s>"},
        result=Image.new("RGBA", (40, 30), (128, 128, 128, 128)),
        snapshots={step: tmp_path / f"{step}.png" for step in (3_000, 0)},
        curves=(tmp_path / "curves.svg").read_text(encoding="utf-8"),
    )


def test_a_page_needs_no_other_file(full):
    for _, attributes in full.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    outside = re.sub(r"xmlns(:xlink)?=\"[^\"]*\"", "", full.text)
    assert re.findall(r"https?://[^<\s]*", outside) == ["https://example.org/weights.h5"]  # as text, in the record
    assert "@import" not in full.text and not re.search(r"url\((?!#)", full.text)


def test_a_page_shows_every_picture(full):
    pictures = list(full.pictures())
    assert [picture.size for picture in pictures] == [(40, 30), (40, 30), (20, 50), (40, 30), (40, 30)]
    result, content, style, first, second = (np.asarray(picture).astype(int)[5, 5] for picture in pictures)
    for colour, expected in ((result[:3], 128), (content, 0), (style, 255), (first, 0), (second, [30, 0, 0])):
        assert np.abs(colour - expected).max() <= 4
    assert abs(result[3] - 128) <= 1


def test_a_page_embeds_pictures_no_larger_than_a_screen(tmp_path):
    written = write_page(tmp_path / "report.html", styles=[np.ones((300, 2_400, 3), np.float32)])
    assert [picture.size for picture in written.pictures()] == [(40, 30), (1_200, 150)]


def test_a_page_shows_several_styles_and_the_regions(tmp_path):
    guides = np.stack([np.tri(30, 40), 1 - np.tri(30, 40)]).astype(np.float32)
    styles = [np.ones((9, 12, 3), np.float32), np.zeros((7, 5, 3))]
    written = write_page(tmp_path / "report.html", styles=styles, regions=guides)
    _, regions, *others = written.pictures()
    assert regions.size == (40, 30) and [picture.size for picture in others] == [(12, 9), (5, 7)]
    one, other = (np.asarray(regions.convert("RGB"), int)[position] for position in ((29, 0), (0, 39)))
    assert np.abs(one - other).max() > 50
    assert all(f"<figcaption>{name} " in written.text for name in ("Regions", "Style 1", "Style 2"))


def test_names_are_text_on_a_page(full):
    assert full.headings[0] == '<script>alert(1)</script> & "b"'
    assert [tag for tag, _ in full.tags].count("script") == 1
    assert not {"b", "i", "u", "s"} & {tag for tag, _ in full.tags}
    for text in ("&lt;b&gt;mine&lt;/b&gt;", "&lt;i&gt;", "&lt;u&gt;", "&lt;s&gt;", "0.125", "30,000 of 30,000"):
        assert f">{text}</d" in full.text


def test_a_page_is_written_with_an_undecodable_name(tmp_path):
    written = write_page(tmp_path / "report.html", title=b"caf\xe9.png".decode(errors="surrogateescape"))
    assert written.headings[0].startswith("caf") and written.headings[0].endswith(".png")


def test_a_page_has_a_slider_for_its_snapshots(full):
    slider = next(attributes for tag, attributes in full.tags if tag == "input")
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "1", "1")
    assert full.text.index("<figcaption>step 0<") < full.text.index("<figcaption>step 3,000<")


def test_a_page_leaves_out_parts_without_data(full, tmp_path):
    assert full.headings[1:] == ["Snapshots", "Losses", "Configuration"]
    bare = write_page(tmp_path / "bare.html")
    assert bare.headings == ["a in the style of b", "Configuration"]
    assert len(list(bare.pictures())) == 2
    assert not {"svg", "input", "button"} & {tag for tag, _ in bare.tags}
    assert 'class="facts"' not in bare.text and ">Result" not in bare.text


# The report of a run's folder.


def test_a_run_writes_its_page(workspace):
    assert main([*QUICK, "--out", "out", "--snapshots", "2,5", "--log-every", "1"]) == 0
    text = Path("out/report.html").read_text(encoding="utf-8")
    assert "<h1>content in the style of style</h1>" in text and "8 of 8" in text
    assert text.count("data:image/webp") == 5  # content, style, result and two snapshots
    plot = Path("out/curves.svg").read_text(encoding="utf-8")
    assert plot[plot.index("<svg") :].strip() in text


def test_the_page_of_an_unfinished_run_shows_what_is_there(workspace, capsys):
    assert main([*QUICK, "--out", "out", "--snapshots", "2", "--log-every", "1"]) == 0
    for name in ("output.png", "sheet.png", "curves.svg", "metrics.jsonl", "progress.json", "report.html"):
        Path("out", name).unlink(missing_ok=True)
    shutil.rmtree("out/snapshots")
    capsys.readouterr()
    assert main(["report", "out"]) == 0
    assert capsys.readouterr().out == "out/report.html\n"
    text = Path("out/report.html").read_text(encoding="utf-8")
    assert text.count("data:image/webp") == 2 and '<section id="curves"' not in text
    assert not Path("out/sheet.png").exists() and not Path("out/curves.svg").exists()
    assert main(["report", "."]) == 2


def test_the_page_of_a_diverged_run_says_so(workspace):
    assert main([*QUICK, "--out", "out", "--learning-rate", "1e30", "--log-every", "1"]) == 1
    assert "then the loss diverged" in Path("out/report.html").read_text(encoding="utf-8")


def test_a_page_shows_at_most_forty_snapshots(workspace):
    assert main([*QUICK, "--out", "out", "--snapshot-every", "1", "--steps", "90"]) == 0
    text = Path("out/report.html").read_text(encoding="utf-8")
    frames = re.findall(r"<figcaption>step ([\d,]+)</figcaption>", text)
    assert len(frames) == 40 and frames[0] == "1" and frames[-1] == "90"
