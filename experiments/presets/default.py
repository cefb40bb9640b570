"""The default: a picture worth keeping within a few minutes, with real or self-taught weights.

    nstjax run CONTENT STYLE

Every distance is relative to its target, so one set of weights serves networks whose activations differ in scale.
Trained weights go through half the size first, where that is 192 pixels or more, for the style's larger forms; those
learnt from the two pictures know none, and would lose the content's details on the way.
"""

import nstjax

config = nstjax.Config(
    layers={
        "content": ("block3_conv1", "block4_conv1"),
        "style": ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1"),
    },
    loss_weights={"content": 0.1, "style": 1.0, "tv": 0.2, "range": 5.0},
    size=384,
    smallest_size=192,
    size_ratio=2.0,
    size_steps=(100, 80),
    match_colour="content",
    parameterisation="fourier",
    learning_rate=0.06,
    beta2=0.99,
    schedule="cosine",
    schedule_end=0.1,
)

# What a self-taught network sees of a picture has to be held to the content harder, to the eye's judgement.
flavours = {"self-taught": {"loss_weights": {"content": 0.5}, "smallest_size": None}}

version = 2


def terms(config):
    """Content and style relative to their targets, smoothness, and the range that a file can hold."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_mean(nstjax.losses.variance_scaled)),
        nstjax.style_term(
            config.layers["style"], nstjax.statistics.gram, nstjax.layer_sum(nstjax.losses.relative_squared)
        ),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_mean_l1),
        nstjax.PictureTerm("range", nstjax.losses.value_range),
    )
