"""PyTorch's step, as a peer: see recipe.py and serving.py. Pictures and features are [1, C, H, W], channels last."""

import platform
import time
from typing import Any

import numpy as np
import recipe
import torch  # pyright: ignore[reportMissingImports]
from serving import serve
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]


def gram(features: Any) -> Any:
    """[C, C], the mean over positions; ``channels last`` makes the [N, C] matrix a view."""
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    return rows.T @ rows / len(rows)


def variation(picture: Any) -> Any:
    """The sum of the absolute differences of neighbours."""
    dx, dy = picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]
    return dx.abs().sum() + dy.abs().sum()


class TorchPeer:
    """Eager or compiled, in one of several precisions."""

    def load(self, path: str, device: str, dtype: str = "float32", compiled: bool = False) -> dict[str, Any]:
        """Build it.

        Args:
            path: of the .npz.
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
        # What autocast would make of float32 kernels in every step is made of them once.
        of_network = torch.bfloat16 if self.half else self.dtype
        self.parameters = {}
        for name in (it.removesuffix("/kernel") for it in data.files if it.endswith("/kernel")):
            kernel = torch.from_numpy(data[f"{name}/kernel"]).permute(3, 2, 0, 1).to(self.device, of_network)
            bias = torch.from_numpy(data[f"{name}/bias"]).to(self.device, of_network)
            self.parameters[name] = kernel.contiguous(memory_format=torch.channels_last), bias
        self.mean = torch.tensor(recipe.MEAN_BGR, dtype=self.dtype, device=self.device).view(1, 3, 1, 1)
        content, style, self.start = (self.picture(data[name]) for name in ("content", "style", "start"))
        with torch.no_grad():
            self.content = self.features(content)[recipe.CONTENT_LAYER]
            features = self.features(style)
            self.style = {name: gram(features[name]) for name in recipe.STYLE_LAYERS}
        self.x = self.start.clone().requires_grad_()
        self.adam = torch.optim.Adam(
            [self.x], lr=recipe.LEARNING_RATE, betas=(recipe.BETA1, recipe.BETA2), eps=recipe.EPSILON
        )
        self.loss = torch.compile(self.eager_loss) if compiled else self.eager_loss
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        return {"versions": versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {})}

    def picture(self, array: np.ndarray) -> Any:
        """A picture [H, W, 3] as PyTorch wants it."""
        x = torch.from_numpy(array).permute(2, 0, 1)[None].to(self.device, self.dtype)
        return x.contiguous(memory_format=torch.channels_last)

    def features(self, picture: Any) -> dict[str, Any]:
        """{layer: features, after the ReLU}."""
        found, x = {}, 255 * picture.flip(1) - self.mean
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            for name, (kernel, bias) in self.parameters.items():
                if name.endswith("conv1") and name != "block1_conv1":
                    x = F.max_pool2d(x, 2)
                x = F.relu(F.conv2d(x, kernel, bias, padding=1), inplace=True)
                if name in (recipe.CONTENT_LAYER, *recipe.STYLE_LAYERS):
                    found[name] = x.to(self.dtype)
        return found

    def eager_loss(self, picture: Any) -> Any:
        """The loss of a picture."""
        features = self.features(picture)
        content = (features[recipe.CONTENT_LAYER] - self.content).square().mean()
        style = sum((gram(features[name]) - target).square().mean() for name, target in self.style.items())
        return (
            recipe.CONTENT_WEIGHT * content
            + recipe.STYLE_WEIGHT / len(self.style) * style
            + recipe.VARIATION_WEIGHT * variation(picture)
        )

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def step(self, steps: int) -> dict[str, Any]:
        """The loss is read once, after the last step, so that a GPU need not wait for the host in between."""
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
        """As the steps compute it."""
        x = self.start.clone().requires_grad_()
        loss = self.loss(x)
        loss.backward()
        np.save(path, x.grad[0].permute(1, 2, 0).cpu().numpy())
        return {"loss": loss.item()}

    def device_memory(self) -> int | None:
        """As PyTorch counts it."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


if __name__ == "__main__":
    serve(TorchPeer())
