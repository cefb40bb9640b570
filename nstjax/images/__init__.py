"""Files to arrays and back: reading, resizing, saving, colour transfer and masks of regions; no JAX.

A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1]. What a file says about itself (orientation, colour profile,
palette, bit depth) is settled while reading it, so that nothing downstream has to ask. Transparency is kept aside.
"""

from nstjax.images.colour import MATCHING_METHODS, match_colour, monge_map
from nstjax.images.lightness import keep_colours, luminance, match_luminance
from nstjax.images.picture import Array, Picture
from nstjax.images.reading import PIXEL_LIMIT, measure, read
from nstjax.images.region_guides import check_guides, check_mask_shape, guides, resized_guides
from nstjax.images.regions import Regions, common_regions, read_regions, regions_of, uniform_regions
from nstjax.images.resizing import SIZE_MEASURES, fitted, measured, resample, resize
from nstjax.images.spaces import SPACES
from nstjax.images.writing import check_output, save

__all__ = [
    "MATCHING_METHODS",
    "PIXEL_LIMIT",
    "SIZE_MEASURES",
    "SPACES",
    "Array",
    "Picture",
    "Regions",
    "check_guides",
    "check_mask_shape",
    "check_output",
    "common_regions",
    "fitted",
    "guides",
    "keep_colours",
    "luminance",
    "match_colour",
    "match_luminance",
    "measure",
    "measured",
    "monge_map",
    "read",
    "read_regions",
    "regions_of",
    "resample",
    "resize",
    "resized_guides",
    "save",
    "uniform_regions",
]
