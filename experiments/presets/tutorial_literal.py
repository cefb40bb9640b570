"""The fifty-iteration tutorial, as its listing computes it.

    nstjax run CONTENT STYLE --preset tutorial-literal

Differs from ``tutorial`` where the published code differs from its text:

- The code computes the content cost from the style layers, against the style picture. The total is therefore 1,010
  times the style cost, and the content enters only through the start picture.
- It keeps the picture after the update, not the one whose loss was lowest.
- Its sheet shows iterations 39 to 48, counted from 0: the pictures after steps 40 to 49.
"""

import nstjax

tutorial = nstjax.load("tutorial")

config = tutorial.config.replace(
    layers={"content": tutorial.config.layers["style"]}, keep="after-best", snapshots=tuple(range(40, 50))
)

flavour = tutorial.flavour

# Here the content term is a style cost too: both get 100^4 times their weights.
FOR_SMALL_ACTIVATIONS = {"loss_weights": {"content": 1e9, "style": 1e11}}
flavours = {"torchvision": FOR_SMALL_ACTIVATIONS, "self-taught": FOR_SMALL_ACTIVATIONS}

version = 2


def terms(config):
    """Return the style cost twice, as "content" and as "style"."""
    return tuple(
        nstjax.Term(
            name,
            config.layers[name],
            nstjax.per_layer(nstjax.statistics.gram),
            nstjax.layer_mean(nstjax.losses.mean_squared),
            target="style",
        )
        for name in ("content", "style")
    )
