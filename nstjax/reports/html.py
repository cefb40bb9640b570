"""The parts that the pages of runs and sweeps share: templates, embedded pictures and the tables of a record."""

import base64
import functools
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from nstjax.system.files import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDED = 5
"""Entries up to which a group of the record is shown unfolded."""


class Embedded(NamedTuple):
    """A picture inside a page.

    Args:
        source: its data URL.
        width: its width in pixels.
        height: its height in pixels.
        description: its name, for those who cannot see it.
    """

    source: str
    width: int
    height: int
    description: str


class Group(NamedTuple):
    """A group of entries of a record.

    Args:
        name: heading of the group.
        entries: {name: value}.
        is_open: shown unfolded.
    """

    name: str
    entries: Mapping[str, Any]
    is_open: bool


def write_page(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Render a template into a page.

    Args:
        path: the HTML file to write.
        template: name of a file in ``templates/``.
        values: the variables of the template; text is escaped.
    """
    text = _load_templates().get_template(template).render(values)
    # The name of a file may hold undecodable bytes.
    write_whole(path, text.encode(errors="xmlcharrefreplace"))


@functools.cache
def _load_templates() -> "Environment":
    # Imported here, for those who only import the package.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("nstjax.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embed(image: Image.Image, description: str, *, longest: int) -> Embedded:
    """Return a picture as lossy WebP in a data URL.

    Args:
        image: the picture; shrunk in place if it is larger.
        description: its name, for those who cannot see it.
        longest: largest long side of the embedded picture, in pixels.
    """
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(f"data:image/webp;base64,{data}", image.width, image.height, description)


def group_record(record: Mapping[str, Any]) -> list[Group]:
    """Return the groups of a record, the settings first, and last a group of the entries that are in no group."""
    groups = {"settings": record["config"]}
    groups |= {name: value for name, value in record.items() if isinstance(value, Mapping) and name != "config"}
    groups["other"] = {name: value for name, value in record.items() if not isinstance(value, Mapping)}
    return [
        Group(name.capitalize(), entries, _count_entries(entries) <= _FOLDED)
        for name, entries in groups.items()
        if entries
    ]


def _count_entries(entries: Mapping[str, Any]) -> int:
    nested = (value for value in entries.values() if isinstance(value, Mapping))
    return len(entries) + sum(_count_entries(value) for value in nested)
