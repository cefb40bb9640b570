"""The benchmark of tiles, on a quick run; nothing here tests speed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))

import tiles


def test_the_table_has_a_row_for_each_size_and_tile(workspace, capsys):
    weights = ["--weights", "vgg.safetensors", "--experiment", "quick.py"]
    tiles.main(["content.png", "style.png", "--sizes", "64", "--tiles", "none", "16", "--steps", "2", *weights])
    header, _, whole, tiled = (
        [cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()
    )
    assert whole[1:5] == ["64x48", "none", "1", "1.00"]
    # At relu2_1 a position sees 4 pixels beyond its own two: four columns and three rows of 14 + 8 pixels reach.
    assert tiled[1:5] == ["64x48", "16", "12 of 22x22", f"{12 * 22**2 / (64 * 48):.2f}"]
    assert all(float(row[column]) > 0 for row in (whole, tiled) for column in (5, 6))
    assert len(header) == len(tiled)
