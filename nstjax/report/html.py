"""What the pages have in common: embedded pictures, facts, the tables of a record, and the style sheet."""

import base64
import io
import os
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from PIL import Image

from nstjax.system.files import whole_file

_LONG = 5
"""A table with more lines than this is folded."""


def write_page(path: str | os.PathLike[str], template: str, **parts: str) -> None:
    """Write a page.

    Args:
        path: an HTML file.
        template: the name of its template, a file beside this one.
        parts: HTML for the template's places; the place of the style sheet is filled here.
    """
    room = resources.files("nstjax.report")
    text, style = (room.joinpath(name).read_text(encoding="utf-8") for name in (template, "style.css"))
    with whole_file(path) as file:
        # A file's name may hold what is no character.
        file.write(Template(text).substitute(parts, style=style).encode(errors="xmlcharrefreplace"))


def embedded(image: Image.Image, description: str, *, longest: int) -> str:
    """The picture itself, as lossy WebP, with its size, so that nothing moves while the page is laid out.

    Args:
        image: which is shrunk in place where it is larger.
        description: for those who cannot see it.
        longest: the long side of what is embedded, at most, in pixels.
    """
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img src="data:image/webp;base64,{data}" {size} alt="{escape(description)}">'


def fact_list(facts: Mapping[str, str]) -> str:
    """What to know at a glance, in order; nothing where there is nothing."""
    if not facts:
        return ""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def record_tables(record: Mapping[str, Any]) -> str:
    """A table for each group of the record, the settings first, and one of what is in no group."""
    groups = {"settings": record["config"]}
    groups |= {name: it for name, it in record.items() if isinstance(it, Mapping) and name != "config"}
    rest = {name: it for name, it in record.items() if not isinstance(it, Mapping)}
    tables = []
    for name, group in {**groups, "other": rest}.items():
        if group:
            table = _shown(group)
            state = "" if table.count("<dd>") > _LONG else " open"
            tables.append(f"<details{state}><summary>{escape(name.capitalize())}</summary>{table}</details>")
    return "".join(tables)


def _shown(value: Any) -> str:
    """A value of the record in HTML; mappings as tables."""
    if isinstance(value, Mapping):
        rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{_shown(it)}</dd>" for name, it in value.items())
        return f"<dl>{rows}</dl>" if rows else "none"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(it) for it in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else escape(str(value))
