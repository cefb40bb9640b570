"""Weights of VGG networks: where they come from, and nstjax's own files of them. Needs neither JAX nor Flax.

``choose`` is what a run asks, ``find`` the same without the reason; ``fetch``, ``convert``, ``verify`` and ``listing``
are the command ``nstjax weights``.
The folder weights/ of the repository explains the sources, the file format and the fingerprints.
"""

from nstjax.network.weights.commands import Listed, Verified, convert_file, listing, verify
from nstjax.network.weights.conversion import convert
from nstjax.network.weights.download import cache_folder, fetch
from nstjax.network.weights.files import Weights, read, write
from nstjax.network.weights.lookup import Choice, NoWeights, choose, find
from nstjax.network.weights.manifest import Source, source, sources

__all__ = [
    "Choice",
    "Listed",
    "NoWeights",
    "Source",
    "Verified",
    "Weights",
    "cache_folder",
    "choose",
    "convert",
    "convert_file",
    "fetch",
    "find",
    "listing",
    "read",
    "source",
    "sources",
    "verify",
    "write",
]
