"""Losses: how far a statistic is from its target, and the losses on the picture itself.

Each is a few lines in the letters of its formula: x a statistic, t its target, D = x - t; picture p ``[H, W, 3]`` with
neighbour differences dx (along the width) and dy (along the height). The weight in front is the objective's.

    distances   of any statistic, element by element
    moments     of means, variances and covariances
    transport   of distributions, along lines
    pairwise    of sets of vectors, by what is nearest
    entropic    of distributions, by Sinkhorn's iterations; needs ott-jax
    sampling    ``sampled`` and ``sampled_alike``, which lift a distance of vectors to hypercolumns at random positions
    layers      ``layer_sum`` and ``layer_mean``, which lift a distance to two dicts of statistics, one per layer
    picture     total variation, value range
"""

from nstjax.losses.elementwise import (
    half_sum_squared,
    keras_style,
    mean_squared,
    quarter_mean_squared,
    relative_squared,
    root_scaled_content,
    sum_squared,
    variance_scaled,
)
from nstjax.losses.hypercolumn import Sampled, hypercolumns, sampled, sampled_alike
from nstjax.losses.lifting import LayerSum, layer_mean, layer_sum, takes_key
from nstjax.losses.moments import (
    WassersteinGaussian,
    batch_norm_statistics,
    mean_and_covariance,
    moment_matching,
    wasserstein_gaussian,
)
from nstjax.losses.nearest import (
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
    "half_sum_squared",
    "histogram_matching",
    "hypercolumns",
    "keras_style",
    "layer_mean",
    "layer_sum",
    "markov_random_field",
    "mean_and_covariance",
    "mean_squared",
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
    "wasserstein_gaussian",
]
