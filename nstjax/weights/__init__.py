"""VGG19's weights: where they come from, and nstjax's own files of them. Needs neither JAX nor Flax.

``find`` is what a run asks; ``fetch``, ``convert``, ``verify`` and ``listing`` are the command ``nstjax weights``.
The folder weights/ of the repository explains the sources, the file format and the fingerprints.
"""

from nstjax.weights.commands import Listed, Verified, convert_file, listing, verify
from nstjax.weights.conversion import convert
from nstjax.weights.download import cache_folder, fetch
from nstjax.weights.files import Weights, read, write
from nstjax.weights.finding import NoWeights, find
from nstjax.weights.manifest import Source, source, sources

__all__ = [
    "Listed",
    "NoWeights",
    "Source",
    "Verified",
    "Weights",
    "cache_folder",
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
