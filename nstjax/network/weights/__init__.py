"""Weights of VGG networks: their sources, and the files of converted weights. Imports neither JAX nor Flax.

A run calls ``choose``; ``find`` returns the same weights without the reason. ``list_sources``, ``fetch``,
``convert_file`` and ``verify`` are the actions of ``nstjax weights``. The folder weights/ of the repository describes
the sources, the file format and the fingerprints.
"""

from nstjax.network.weights.commands import ListedSource, VerifiedFile, convert_file, list_sources, verify
from nstjax.network.weights.conversion import convert
from nstjax.network.weights.download import cache_folder, fetch
from nstjax.network.weights.files import Weights, read, write
from nstjax.network.weights.lookup import Choice, NoWeights, choose, find
from nstjax.network.weights.manifest import Source, find_source, load_sources

__all__ = [
    "Choice",
    "ListedSource",
    "NoWeights",
    "Source",
    "VerifiedFile",
    "Weights",
    "cache_folder",
    "choose",
    "convert",
    "convert_file",
    "fetch",
    "find",
    "find_source",
    "list_sources",
    "load_sources",
    "read",
    "verify",
    "write",
]
