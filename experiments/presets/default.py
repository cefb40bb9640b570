"""The default: a picture worth keeping within a few minutes, with trained or self-taught weights.

    nstjax run CONTENT STYLE

Every distance is relative to its target, so the same loss weights serve networks whose activations differ in scale.
With trained weights the run begins at a coarse size, from 128 pixels on, for the larger forms of the style, and doubles
it. Weights learnt from the two pictures know no such forms, and would lose details of the content on the way.
``experiments/results/default-recipe.md`` shows how the settings were chosen.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block3_conv1", "block4_conv1"),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1"),
    },
    loss_weights={"content": 0.4, "style": 1.0, "tv": 0.2, "range": 5.0},
    sizes="128:384:2",
    steps=(100, 80),
    match_colour="content",
    parameterisation="fourier",
    learning_rate=0.06,
    beta2=0.99,
    schedule="cosine",
    schedule_end=0.1,
)

# Judged by eye: a self-taught network needs a stronger content term.
flavours = {"self-taught": {"loss_weights": {"content": 0.5}, "sizes": (384,)}}

version = 3


def terms(config):
    """Return content and style relative to their targets, total variation, and the range that a file can hold."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.variance_scaled)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram, nstjax.layer_sum(nstjax.losses.relative_squared)
        ),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_mean_l1),
        nstjax.PictureTerm("range", nstjax.losses.value_range),
    )
