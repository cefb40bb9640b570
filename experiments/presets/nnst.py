"""Kolkin et al.'s Neural Neighbor Style Transfer: each feature drawn to the style's nearest, coarse to fine.

    nstjax run CONTENT STYLE --preset nnst

Hypercolumns of ten convolutions, each divided by its channels, at every fourth position; the mean cosine distance of
each, less their mean, from the style's nearest. Long sides 64, 128, 256, 512 with 200 steps of Adam each, and 400 at
the last, 0.002 on a Laplacian pyramid, from the content; there is no content term. Meant for the torchvision flavour,
down to block4_conv3, and for an accelerator: at 512 pixels every step compares 16,384 positions with as many.

Source: https://github.com/nkolkin13/NeuralNeighborStyleTransfer at commit 290976a; Kolkin, Kucera, Paris, Sykora,
Shechtman and Shakhnarovich, "Neural Neighbor Style Transfer", 2022.

Differs from the source:

- it has VGG16; with VGG19 the convolutions of the same names.
- it looks for the nearest once a size, from the content blended with the result, and holds to what it found; in 200
  last steps, layer by layer instead of by hypercolumns, it looks at every one. Here hypercolumns look at every step,
  from the result, throughout.
- it looks in the style turned by 90, 180 and 270 degrees too.
- its pyramid has eight levels at 512 pixels and five at 64, here five at each; it starts Adam anew at each size, here
  its moments go on.
- maps are brought to one size between the centres of their positions, not between their corners.
- it gives the result colours made from the content's in the end; here they are the result's own.
- it resizes by bilinear interpolation, here by Lanczos'.
"""

import nstjax

config = nstjax.Config(
    layers={
        "style": (
            *(f"block1_conv{i}" for i in (1, 2)),
            *(f"block2_conv{i}" for i in (1, 2)),
            *(f"block3_conv{i}" for i in (1, 2, 3)),
            *(f"block4_conv{i}" for i in (1, 2, 3)),
        )
    },
    loss_weights={"style": 1.0},
    size=512,
    smallest_size=64,
    size_ratio=2.0,
    size_steps=(200, 200, 200, 400),
    enlarge=True,
    parameterisation="laplacian",
    learning_rate=2e-3,
)

version = 1


def terms(config):
    """The cosine distance of hypercolumns from their nearest."""
    return (
        nstjax.Term(
            "style",
            config.layers["style"],
            nstjax.statistics.Hypercolumns(stride=4),
            nstjax.losses.nearest_cosine,
            target="style",
        ),
    )
