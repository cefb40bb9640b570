"""``python -m nstjax``."""

from nstjax.cli import entry

entry()
