"""The peer of TensorFlow: see recipe.py and serving.py. Pictures and features are [1, H, W, C]."""

import platform
import time
from typing import Any

import numpy as np
import recipe
import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]
from serving import serve


def gram(features: Any) -> Any:
    """Return the Gram matrix [1, C, C], the mean over positions, by the tutorial's formula."""
    shape = tf.shape(features)
    return tf.linalg.einsum("bijc,bijd->bcd", features, features) / tf.cast(shape[1] * shape[2], features.dtype)


class TensorFlowPeer:
    """The step in TensorFlow: eager, as in the tutorial's first listing, or as one tf.function."""

    def load(self, path: str, device: str, function: bool = False) -> dict[str, Any]:
        """Build the network and compute the targets.

        Args:
            path: the .npz.
            device: "cpu" or "gpu".
            function: whether the step is a tf.function.
        """
        self.device = device
        if device == "gpu" and not tf.config.list_physical_devices("GPU"):
            raise RuntimeError("this TensorFlow sees no GPU")
        data = np.load(path)
        self.content_layer, self.style_layers = str(data["content_layer"]), [*map(str, data["style_layers"])]
        self.parameters = {
            name: (
                tf.Variable(data[f"{name}/kernel"], trainable=False),
                tf.Variable(data[f"{name}/bias"], trainable=False),
            )
            for name in (key.removesuffix("/kernel") for key in data.files if key.endswith("/kernel"))
        }
        content, style, self.start = (tf.constant(data[name][None]) for name in ("content", "style", "start"))
        self.content = self.compute_features(content)[self.content_layer]
        features = self.compute_features(style)
        self.style = {name: gram(features[name]) for name in self.style_layers}
        self.x = tf.Variable(self.start)
        self.moments = [tf.Variable(tf.zeros_like(self.start), trainable=False) for _ in range(2)]
        self.count: Any = tf.Variable(tf.zeros(()), trainable=False)
        self.make_step = tf.function(self.step_eagerly) if function else self.step_eagerly
        versions = {name: str(module.__version__) for name, module in (("tensorflow", tf), ("numpy", np))}
        return {"versions": {"python": platform.python_version(), **versions}}

    def compute_features(self, picture: Any) -> dict[str, Any]:
        """Return {layer: features after the ReLU}."""
        features, x = {}, 255 * picture[..., ::-1] - tf.constant(recipe.MEAN_BGR)
        for name, (kernel, bias) in self.parameters.items():
            if name.endswith("conv1") and name != "block1_conv1":
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
            if name in (self.content_layer, *self.style_layers):
                features[name] = x
        return features

    def compute_loss_and_gradient(self, picture: Any) -> tuple[Any, Any]:
        """Return the loss of a picture and its gradient."""
        with tf.GradientTape() as tape:
            tape.watch(picture)
            features = self.compute_features(picture)
            content = tf.reduce_mean((features[self.content_layer] - self.content) ** 2)
            style = tf.add_n(
                [tf.reduce_mean((gram(features[name]) - target) ** 2) for name, target in self.style.items()]
            )
            loss = recipe.CONTENT_WEIGHT * content + recipe.STYLE_WEIGHT / len(self.style) * style
            loss += recipe.VARIATION_WEIGHT * tf.reduce_sum(tf.image.total_variation(picture))
        return loss, tape.gradient(loss, picture)

    def step_eagerly(self) -> Any:
        """Make one step and return the loss before its update."""
        loss, gradient = self.compute_loss_and_gradient(self.x)
        mean, square = self.moments
        self.count.assign_add(1)
        mean.assign(recipe.BETA1 * mean + (1 - recipe.BETA1) * gradient)
        square.assign(recipe.BETA2 * square + (1 - recipe.BETA2) * gradient**2)
        root = tf.sqrt(square / (1 - recipe.BETA2**self.count)) + recipe.EPSILON
        moved = self.x - recipe.LEARNING_RATE * mean / (1 - recipe.BETA1**self.count) / root
        self.x.assign(tf.clip_by_value(moved, 0, 1))
        return loss

    def step(self, steps: int) -> dict[str, Any]:
        """Make steps; the loss is read once, after the last."""
        begun = time.perf_counter()
        loss: Any = None
        for _ in range(steps):
            loss = self.make_step()
        self.x.read_value().numpy()  # the step's last assignment
        return {"seconds": time.perf_counter() - begun, "loss": float(loss)}

    def gradient(self, path: str) -> dict[str, Any]:
        """Write the gradient at the start, computed as in the steps."""
        compute = (
            self.compute_loss_and_gradient
            if self.make_step == self.step_eagerly
            else tf.function(self.compute_loss_and_gradient)
        )
        loss, gradient = compute(self.start)
        np.save(path, gradient[0].numpy())
        return {"loss": float(loss)}

    def read_device_memory(self) -> int | None:
        """Return TensorFlow's count of the peak bytes on the GPU; None on a CPU."""
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if self.device == "gpu" else None


if __name__ == "__main__":
    serve(TensorFlowPeer())
