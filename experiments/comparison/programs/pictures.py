"""Pictures resized as the programs do it: Pillow, torchvision, OpenCV's and Torch's areas, TensorFlow."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

NEAREST, BILINEAR = Image.Resampling.NEAREST, Image.Resampling.BILINEAR
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return uint8 or float [H, W, 3] as [1, 3, H, W] in [0, 1]."""
    scale = 255 if pixels.dtype == np.uint8 else 1
    return torch.from_numpy(np.asarray(pixels, np.float32).transpose(2, 0, 1).copy())[None] / scale


def to_picture(image: Tensor) -> np.ndarray:
    """Return [1, 3, H, W] as [H, W, 3], clipped to [0, 1]."""
    return image.detach()[0].permute(1, 2, 0).clamp(0, 1).numpy()


def fit(pixels: np.ndarray, size: int, *, side: str, rounding=math.floor) -> tuple[int, int]:
    """Return the height and width of a picture whose long or short side becomes ``size``."""
    measured = {"long": max, "short": min}[side](pixels.shape[:2])
    height, width = (rounding(size * length / measured) for length in pixels.shape[:2])
    return height, width


def pillow(pixels: np.ndarray, shape: tuple[int, int], resampling) -> np.ndarray:
    """Resize uint8 [H, W, 3] with Pillow, which rounds to 8 bits."""
    return np.asarray(Image.fromarray(pixels).resize((shape[1], shape[0]), resampling))


def area(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """Reduce [1, 3, H, W]: each pixel becomes the mean of the area that it covers."""
    rows, columns = (_overlaps(old, new) for old, new in zip(picture.shape[2:], shape, strict=True))
    return rows @ picture @ columns.T


def _overlaps(old: int, new: int) -> Tensor:
    edges = torch.linspace(0, old, new + 1, dtype=torch.float64)
    pixels = torch.arange(old, dtype=torch.float64)
    upper, lower = torch.minimum(edges[1:, None], pixels + 1), torch.maximum(edges[:-1, None], pixels)
    return ((upper - lower).clamp(min=0) * new / old).float()


def tensorflow_bilinear(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize between the four nearest pixels, without anti-aliasing."""
    return functional.interpolate(picture, shape, mode="bilinear", align_corners=False)
