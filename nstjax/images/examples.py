"""Example pictures that are always at hand."""

from pathlib import Path

from nstjax.errors import UserError
from nstjax.images.picture import Picture
from nstjax.images.reading import read
from nstjax.system.plotting import import_matplotlib

EXAMPLES: dict[str, str] = {
    "portrait": "content: a photograph of Grace Hopper (US Navy, public domain), from matplotlib's sample data",
    "brushwork": "style: a night of swirling, heavy brush strokes, drawn by a program of this project",
}
"""Name to one-line description of each example."""


def locate(name: str) -> Path:
    """Return the file of the example picture called ``name``.

    Args:
        name: a key of EXAMPLES.

    Raises:
        UserError: no example has that name.
    """
    if name not in EXAMPLES:
        raise UserError(f"unknown example {name!r}: expected one of {', '.join(EXAMPLES)}")
    if name == "brushwork":
        return Path(__file__).with_name("brushwork.png")
    import_matplotlib()
    from matplotlib import cbook

    return Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))


def load(name: str) -> Picture:
    """Load the example picture called ``name``. Args and errors are those of ``locate``."""
    return read(locate(name))
