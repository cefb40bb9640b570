"""TensorFlow's step, as a peer: see recipe.py and serving.py. Pictures and features are [1, H, W, C]."""

import platform
import time
from typing import Any

import numpy as np
import recipe
import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]
from serving import serve


def gram(features: Any) -> Any:
    """[1, C, C], the mean over positions, by the tutorial's own formula."""
    shape = tf.shape(features)
    return tf.linalg.einsum("bijc,bijd->bcd", features, features) / tf.cast(shape[1] * shape[2], features.dtype)


class TensorFlowPeer:
    """Eager, as the tutorial's first listing, or as one tf.function."""

    def load(self, path: str, device: str, function: bool = False) -> dict[str, Any]:
        """Build it.

        Args:
            path: of the .npz.
            device: "cpu" or "gpu".
            function: whether the step is a tf.function.
        """
        self.device = device
        if device == "gpu" and not tf.config.list_physical_devices("GPU"):
            raise RuntimeError("this TensorFlow sees no GPU")
        data = np.load(path)
        self.parameters = {
            name: (
                tf.Variable(data[f"{name}/kernel"], trainable=False),
                tf.Variable(data[f"{name}/bias"], trainable=False),
            )
            for name in (it.removesuffix("/kernel") for it in data.files if it.endswith("/kernel"))
        }
        content, style, self.start = (tf.constant(data[name][None]) for name in ("content", "style", "start"))
        self.content = self.features(content)[recipe.CONTENT_LAYER]
        features = self.features(style)
        self.style = {name: gram(features[name]) for name in recipe.STYLE_LAYERS}
        self.x = tf.Variable(self.start)
        self.moments = [tf.Variable(tf.zeros_like(self.start), trainable=False) for _ in range(2)]
        self.count: Any = tf.Variable(tf.zeros(()), trainable=False)
        self.one_step = tf.function(self.eager_step) if function else self.eager_step
        versions = {name: str(module.__version__) for name, module in (("tensorflow", tf), ("numpy", np))}
        return {"versions": {"python": platform.python_version(), **versions}}

    def features(self, picture: Any) -> dict[str, Any]:
        """{layer: features, after the ReLU}."""
        found, x = {}, 255 * picture[..., ::-1] - tf.constant(recipe.MEAN_BGR)
        for name, (kernel, bias) in self.parameters.items():
            if name.endswith("conv1") and name != "block1_conv1":
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
            if name in (recipe.CONTENT_LAYER, *recipe.STYLE_LAYERS):
                found[name] = x
        return found

    def loss_and_gradient(self, picture: Any) -> tuple[Any, Any]:
        """The loss of a picture and its gradient there."""
        with tf.GradientTape() as tape:
            tape.watch(picture)
            features = self.features(picture)
            content = tf.reduce_mean((features[recipe.CONTENT_LAYER] - self.content) ** 2)
            style = tf.add_n([tf.reduce_mean((gram(features[name]) - it) ** 2) for name, it in self.style.items()])
            loss = recipe.CONTENT_WEIGHT * content + recipe.STYLE_WEIGHT / len(self.style) * style
            loss += recipe.VARIATION_WEIGHT * tf.reduce_sum(tf.image.total_variation(picture))
        return loss, tape.gradient(loss, picture)

    def eager_step(self) -> Any:
        """One step; returns the loss before its update."""
        loss, gradient = self.loss_and_gradient(self.x)
        mean, square = self.moments
        self.count.assign_add(1)
        mean.assign(recipe.BETA1 * mean + (1 - recipe.BETA1) * gradient)
        square.assign(recipe.BETA2 * square + (1 - recipe.BETA2) * gradient**2)
        root = tf.sqrt(square / (1 - recipe.BETA2**self.count)) + recipe.EPSILON
        moved = self.x - recipe.LEARNING_RATE * mean / (1 - recipe.BETA1**self.count) / root
        self.x.assign(tf.clip_by_value(moved, 0, 1))
        return loss

    def step(self, steps: int) -> dict[str, Any]:
        """The loss is read once, after the last step."""
        begun = time.perf_counter()
        loss: Any = None
        for _ in range(steps):
            loss = self.one_step()
        self.x.read_value().numpy()  # the step's last assignment
        return {"seconds": time.perf_counter() - begun, "loss": float(loss)}

    def gradient(self, path: str) -> dict[str, Any]:
        """As the steps compute it."""
        of_picture = self.loss_and_gradient if self.one_step == self.eager_step else tf.function(self.loss_and_gradient)
        loss, found = of_picture(self.start)
        np.save(path, found[0].numpy())
        return {"loss": float(loss)}

    def device_memory(self) -> int | None:
        """As TensorFlow counts it."""
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if self.device == "gpu" else None


if __name__ == "__main__":
    serve(TensorFlowPeer())
