"""The peer of PyTorch: see recipe.py and serving.py. Pictures and features are [1, C, H, W], channels last."""

import platform
import time
from typing import Any

import numpy as np
import recipe
import torch  # pyright: ignore[reportMissingImports]
from serving import serve
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]


def gram(features: Any) -> Any:
    """Return the Gram matrix [C, C], the mean over positions; channels last makes the [N, C] matrix a view."""
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    return rows.T @ rows / len(rows)


def total_variation(picture: Any) -> Any:
    """Return the sum of absolute neighbour differences."""
    dx, dy = picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]
    return dx.abs().sum() + dy.abs().sum()


class TorchPeer:
    """The step in PyTorch: eager or compiled, in one of several precisions."""

    def load(self, path: str, device: str, dtype: str = "float32", compiled: bool = False) -> dict[str, Any]:
        """Build the network and compute the targets.

        Args:
            path: the .npz.
            device: "cpu" or "gpu".
            dtype: "float32" (nothing rounded further), "tf32", "bfloat16" (convolutions only, by autocast), "float64".
            compiled: whether the loss goes through torch.compile.
        """
        self.device, self.half = torch.device("cuda" if device == "gpu" else "cpu"), dtype == "bfloat16"
        self.dtype = torch.float64 if dtype == "float64" else torch.float32
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.benchmark = True  # shapes never change here
        data = np.load(path)
        self.content_layer, self.style_layers = str(data["content_layer"]), [*map(str, data["style_layers"])]
        # Autocast would convert float32 kernels in every step; here they are converted once.
        network_dtype = torch.bfloat16 if self.half else self.dtype
        self.parameters = {}
        for name in (key.removesuffix("/kernel") for key in data.files if key.endswith("/kernel")):
            kernel = torch.from_numpy(data[f"{name}/kernel"]).permute(3, 2, 0, 1).to(self.device, network_dtype)
            bias = torch.from_numpy(data[f"{name}/bias"]).to(self.device, network_dtype)
            self.parameters[name] = kernel.contiguous(memory_format=torch.channels_last), bias
        self.mean = torch.tensor(recipe.MEAN_BGR, dtype=self.dtype, device=self.device).view(1, 3, 1, 1)
        content, style, self.start = (self.make_picture(data[name]) for name in ("content", "style", "start"))
        with torch.no_grad():
            self.content = self.compute_features(content)[self.content_layer]
            features = self.compute_features(style)
            self.style = {name: gram(features[name]) for name in self.style_layers}
        self.x = self.start.clone().requires_grad_()
        self.adam = torch.optim.Adam(
            [self.x], lr=recipe.LEARNING_RATE, betas=(recipe.BETA1, recipe.BETA2), eps=recipe.EPSILON
        )
        self.loss = torch.compile(self.compute_loss) if compiled else self.compute_loss
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        return {"versions": versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {})}

    def make_picture(self, array: np.ndarray) -> Any:
        """Return a picture [H, W, 3] as a tensor [1, 3, H, W] on the device."""
        x = torch.from_numpy(array).permute(2, 0, 1)[None].to(self.device, self.dtype)
        return x.contiguous(memory_format=torch.channels_last)

    def compute_features(self, picture: Any) -> dict[str, Any]:
        """Return {layer: features after the ReLU}."""
        features, x = {}, 255 * picture.flip(1) - self.mean
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            for name, (kernel, bias) in self.parameters.items():
                if name.endswith("conv1") and name != "block1_conv1":
                    x = F.max_pool2d(x, 2)
                x = F.relu(F.conv2d(x, kernel, bias, padding=1), inplace=True)
                if name in (self.content_layer, *self.style_layers):
                    features[name] = x.to(self.dtype)
        return features

    def compute_loss(self, picture: Any) -> Any:
        """Return the loss of a picture."""
        features = self.compute_features(picture)
        content = (features[self.content_layer] - self.content).square().mean()
        style = sum((gram(features[name]) - target).square().mean() for name, target in self.style.items())
        return (
            recipe.CONTENT_WEIGHT * content
            + recipe.STYLE_WEIGHT / len(self.style) * style
            + recipe.VARIATION_WEIGHT * total_variation(picture)
        )

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def step(self, steps: int) -> dict[str, Any]:
        """Make steps; the loss is read once, after the last, so that a GPU does not wait for the host."""
        begun = time.perf_counter()
        loss: Any = None
        for _ in range(steps):
            self.adam.zero_grad()
            loss = self.loss(self.x)
            loss.backward()
            self.adam.step()
            with torch.no_grad():
                self.x.clamp_(0, 1)
        self.wait()
        return {"seconds": time.perf_counter() - begun, "loss": loss.item()}

    def gradient(self, path: str) -> dict[str, Any]:
        """Write the gradient at the start, computed as in the steps."""
        x = self.start.clone().requires_grad_()
        loss = self.loss(x)
        loss.backward()
        np.save(path, x.grad[0].permute(1, 2, 0).cpu().numpy())
        return {"loss": loss.item()}

    def read_device_memory(self) -> int | None:
        """Return PyTorch's count of the peak bytes on the GPU; None on a CPU."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


if __name__ == "__main__":
    serve(TorchPeer())
