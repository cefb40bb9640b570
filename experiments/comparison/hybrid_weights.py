"""Real weights of the first blocks with self-taught ones below them, for machines without deeper real weights.

    python experiments/comparison/hybrid_weights.py CONTENT STYLE REAL.safetensors OUT.safetensors --size 256

writes a file for ``nstjax run … --weights OUT.safetensors``. Takes seconds on two CPU cores.
"""

import argparse
import dataclasses

from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import Inputs, prepare
from nstjax.network import selftaught, weights


def make_hybrid(inputs: Inputs, real: weights.Weights, *, deepest: str, seed: int = 0) -> weights.Weights:
    """Make weights down to ``deepest``: the real ones as far as they reach, then layers learnt from the two pictures.

    Args:
        inputs: the prepared pictures of the run that will use the weights.
        real: real weights of the first layers.
        deepest: canonical name of the last convolution.
        seed: seed of the learnt layers.
    """
    learnt = selftaught.learn(inputs.content, inputs.style, seed=seed, deepest=deepest, known=real)
    return dataclasses.replace(learnt, source=f"{real.source}; self-taught below {real.deepest}")


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("content", "style", "real", "out"):
        parser.add_argument(name)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--deepest", default="block5_conv2")
    arguments = parser.parse_args()
    config = load(arguments.preset).config.replace(size=arguments.size)
    inputs = prepare(arguments.content, arguments.style, config)
    weights.write(arguments.out, make_hybrid(inputs, weights.read(arguments.real), deepest=arguments.deepest))


if __name__ == "__main__":
    main()
