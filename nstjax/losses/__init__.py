"""Losses: distances between a statistic and its target, and losses on the picture itself.

Each is a few lines in the letters of its formula: x is a statistic, t its target; p is a picture ``[H, W, 3]``, dx and
dy are its differences of neighbours along the width and the height. Weights belong to the objective, not to a loss.

    elementwise    distances of any statistic, element by element
    moments        distances of means, variances and covariances
    sliced         distances of distributions, along lines: sliced Wasserstein, histograms
    nearest        distances of sets of vectors, by nearest neighbours
    sinkhorn       entropic optimal transport; needs ott-jax
    hypercolumn    ``sampled`` and ``sampled_alike`` lift a distance of vectors to all layers, at random positions
    lifting        ``layer_sum`` and ``layer_mean`` lift a distance of one statistic to ``{layer: statistic}``
    regularisers   losses on the picture: total variation, value range
"""

from nstjax.losses.elementwise import (
    half_sum_squared,
    is_sum_over_elements,
    keras_style,
    mean_squared,
    quarter_mean_squared,
    relative_squared,
    root_scaled_content,
    sum_squared,
    sums_over_elements,
    variance_scaled,
)
from nstjax.losses.hypercolumn import Sampled, draw_positions, hypercolumns, sampled, sampled_alike
from nstjax.losses.lifting import LayerSum, layer_mean, layer_sum, takes_key
from nstjax.losses.moments import (
    WassersteinGaussian,
    batch_norm_statistics,
    mean_and_covariance,
    moment_difference,
    moment_matching,
    vector_moments,
    wasserstein_gaussian,
)
from nstjax.losses.nearest import (
    cosine,
    find_nearest_cosine,
    markov_random_field,
    nearest_cosine,
    relaxed_earth_mover,
    relaxed_earth_mover_of_colours,
    self_similarity,
)
from nstjax.losses.regularisers import (
    TotalVariation,
    total_variation_half_squared,
    total_variation_keras,
    total_variation_l1,
    total_variation_mean_l1,
    total_variation_mean_squared,
    total_variation_nine_point,
    total_variation_periodic,
    total_variation_pystiche,
    total_variation_squared,
    value_range,
)
from nstjax.losses.sinkhorn import EntropicTransport
from nstjax.losses.sliced import SlicedWasserstein, histogram_matching, sliced_wasserstein

__all__ = [
    "EntropicTransport",
    "LayerSum",
    "Sampled",
    "SlicedWasserstein",
    "TotalVariation",
    "WassersteinGaussian",
    "batch_norm_statistics",
    "cosine",
    "draw_positions",
    "find_nearest_cosine",
    "half_sum_squared",
    "histogram_matching",
    "hypercolumns",
    "is_sum_over_elements",
    "keras_style",
    "layer_mean",
    "layer_sum",
    "markov_random_field",
    "mean_and_covariance",
    "mean_squared",
    "moment_difference",
    "moment_matching",
    "nearest_cosine",
    "quarter_mean_squared",
    "relative_squared",
    "relaxed_earth_mover",
    "relaxed_earth_mover_of_colours",
    "root_scaled_content",
    "sampled",
    "sampled_alike",
    "self_similarity",
    "sliced_wasserstein",
    "sum_squared",
    "sums_over_elements",
    "takes_key",
    "total_variation_half_squared",
    "total_variation_keras",
    "total_variation_l1",
    "total_variation_mean_l1",
    "total_variation_mean_squared",
    "total_variation_nine_point",
    "total_variation_periodic",
    "total_variation_pystiche",
    "total_variation_squared",
    "value_range",
    "variance_scaled",
    "vector_moments",
    "wasserstein_gaussian",
]
