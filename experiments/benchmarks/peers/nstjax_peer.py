"""The peer of nstjax: see recipe.py and serving.py."""

import functools
import platform
import time
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import recipe
from serving import serve

from nstjax import losses, optimise, optimisers, statistics
from nstjax.network.architecture import FLAVOURS
from nstjax.network.vgg import VGG
from nstjax.objective import Objective
from nstjax.types import PictureTerm, Targets, Term


def make_objective(content_layer: str, style_layers: tuple[str, ...]) -> Objective:
    """Make the objective of the recipe at the given layers."""
    maps, grams = statistics.per_layer(statistics.feature_map), statistics.per_layer(statistics.gram)
    mean = losses.layer_mean(losses.mean_squared)
    return Objective(
        (
            Term("content", (content_layer,), maps, mean, target="content"),
            Term("style", style_layers, grams, mean, target="style"),
            PictureTerm("variation", losses.total_variation_l1),
        )
    )


WEIGHTS = {"content": recipe.CONTENT_WEIGHT, "style": recipe.STYLE_WEIGHT, "variation": recipe.VARIATION_WEIGHT}


@functools.partial(jax.jit, static_argnames="objective")
def targets(network: VGG, content: jax.Array, style: jax.Array, *, objective: Objective) -> Targets:
    """Compute the targets of the terms."""
    return objective.targets(network, content=content, style=style)


@functools.partial(jax.jit, static_argnames="objective")
def gradient(picture: jax.Array, problem: optimise.Problem, *, objective: Objective) -> tuple[jax.Array, jax.Array]:
    """Return the (loss, gradient) of a picture."""

    def loss(picture: jax.Array) -> jax.Array:
        return objective(picture, network=problem.network, targets=problem.targets, weights=problem.loss_weights)[0]

    return jax.value_and_grad(loss)(picture)


class NstjaxPeer:
    """The step in nstjax: ``optimise.run_chunk`` on the recipe's terms."""

    def load(self, path: str, device: str, **options: Any) -> dict[str, Any]:
        """Build the network, with the options of ``VGG``, and compute the targets on JAX's default device."""
        if device != (backend := jax.default_backend()):
            raise RuntimeError(f"expected JAX to compute on {device}, but it computes on {backend}")
        with np.load(path) as data:
            layers = [name.removesuffix("/kernel") for name in data.files if name.endswith("/kernel")]
            parameters = {name: (data[f"{name}/kernel"], data[f"{name}/bias"]) for name in layers}
            content, style, self.start = (jnp.asarray(data[name]) for name in ("content", "style", "start"))
            objective = make_objective(str(data["content_layer"]), tuple(map(str, data["style_layers"])))
        # As runs set it.
        precision = "highest" if options.get("precision") == "highest" else "high"
        jax.config.update("jax_default_matmul_precision", precision)
        network = VGG(parameters, FLAVOURS["caffe"], **options)
        weights = {name: jnp.float32(weight) for name, weight in WEIGHTS.items()}
        self.problem = optimise.Problem(network, targets(network, content, style, objective=objective), weights)
        adam = optimisers.adam(beta1=recipe.BETA1, beta2=recipe.BETA2, epsilon=recipe.EPSILON)
        self.method = optimise.Method(objective, adam, clamp=True)
        self.state = optimise.init(self.method, self.start, learning_rate=recipe.LEARNING_RATE, key=jax.random.key(0))
        versions = {name: version(name) for name in ("jax", "jaxlib", "optax", "flax", "numpy")}
        return {"versions": {"python": platform.python_version(), **versions}}

    def step(self, steps: int) -> dict[str, Any]:
        """Make one chunk of steps."""
        if steps > optimise.CHUNK:
            raise ValueError(f"at most {optimise.CHUNK} steps at a time")
        begun = time.perf_counter()
        self.state, metrics = jax.block_until_ready(
            optimise.run_chunk(self.state, self.problem, np.int32(steps), method=self.method)
        )
        return {"seconds": time.perf_counter() - begun, "loss": float(metrics["total"][steps - 1])}

    def gradient(self, path: str) -> dict[str, Any]:
        """Write the gradient at the start, from a program that is compiled here."""
        loss, array = gradient(self.start, self.problem, objective=self.method.objective)
        np.save(path, np.asarray(array))
        return {"loss": float(loss)}

    def read_device_memory(self) -> int | None:
        """Return JAX's count of the peak bytes on the accelerator; None on a CPU."""
        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


if __name__ == "__main__":
    serve(NstjaxPeer())
