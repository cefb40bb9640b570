"""Picture files and arrays: reading, resizing, saving, colour transfer and region masks; no JAX.

A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1]. Reading a file applies what it says about itself (orientation,
colour profile, palette, bit depth), so no other code has to ask. Transparency is kept in a separate array.
"""

from nstjax.images.colour import MATCHING_METHODS, match_colour, monge_map
from nstjax.images.lightness import keep_colours, luminance, match_luminance
from nstjax.images.opening import PIXEL_LIMIT, open_image
from nstjax.images.picture import Array, Picture
from nstjax.images.reading import read, read_size
from nstjax.images.region_guides import check_guides, check_mask_shape, make_guides, resize_guides
from nstjax.images.regions import Regions, find_common_colours, find_regions, make_uniform_regions, read_regions
from nstjax.images.resizing import SIZE_MEASURES, Resampling, fit_size, measure_size, resample, resize
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
    "Resampling",
    "check_guides",
    "check_mask_shape",
    "check_output",
    "find_common_colours",
    "find_regions",
    "fit_size",
    "keep_colours",
    "luminance",
    "make_guides",
    "make_uniform_regions",
    "match_colour",
    "match_luminance",
    "measure_size",
    "monge_map",
    "open_image",
    "read",
    "read_regions",
    "read_size",
    "resample",
    "resize",
    "resize_guides",
    "save",
]
