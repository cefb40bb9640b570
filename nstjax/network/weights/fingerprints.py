"""Recognition of the trained Caffe kernels, and of the ways in which they can be misread.

A fingerprint is a tensor's norm and a few weighted sums of its entries, so it changes with any exchange of axes,
rotation or reversal of channels. The manifest has the fingerprints of the trained weights in blocks 1 to 3.
"""

from collections.abc import Callable, Mapping

import numpy as np

from nstjax.errors import UserError
from nstjax.network.architecture import VGG19, Architecture
from nstjax.network.weights import manifest

Parameters = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Kernels and biases: {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}."""

TOLERANCE = 3e-4
"""Largest difference, relative to the norm plus the number. Rounding the trained kernels to float16 gives up to 1.3e-4,
one filter of block 3 set to zero at least 1.9e-2, and any of the misreadings below at least 0.2."""

_PLAUSIBLE_SPREAD = (1e-4, 1.0)  # of a kernel's entries; the trained ones have 0.01 to 0.2

_MISREADINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated by 180 degrees": lambda k: k[::-1, ::-1],
    "transposed: height and width are exchanged": lambda k: k.transpose(1, 0, 2, 3),
    "mirrored left to right": lambda k: k[:, ::-1],
    "mirrored top to bottom": lambda k: k[::-1],
    "transposed: channels in and out are exchanged": lambda k: k.reshape(3, 3, k.shape[3], k.shape[2]).transpose(
        0, 1, 3, 2
    ),
    "read as [height, width, in, out] but laid out as [out, in, height, width]": lambda k: k.reshape(
        k.shape[::-1]
    ).transpose(2, 3, 1, 0),
}


def _make_weightings(channels: int) -> np.ndarray:
    """Return [2, channels]: a constant, and a ramp that changes sign when the channels are reversed."""
    return np.stack([np.ones(channels), np.linspace(-1, 1, channels)])


def fingerprint(tensor: np.ndarray) -> np.ndarray:
    """Return the norm, then weighted sums: four for each of a kernel's nine taps, or two for a bias.

    Args:
        tensor: kernel [3, 3, in, out] or bias [out].

    Returns:
        float64 [37] for a kernel, [3] for a bias.
    """
    x = np.asarray(tensor, np.float64)
    sums = _make_weightings(x.shape[-1]) @ x[..., None]  # [..., 2, 1], over the channels out
    if x.ndim == 4:
        sums = _make_weightings(x.shape[2]) @ sums[..., 0]  # [3, 3, 2, 2], over the channels in as well
    return np.concatenate([[np.linalg.norm(x)], sums.ravel()])


def format_toml(parameters: Parameters) -> str:
    """Return the section ``fingerprints.caffe`` of a manifest for these parameters."""

    def format_fingerprint(tensor: np.ndarray) -> str:
        return ", ".join(f"{number:.9g}" for number in fingerprint(tensor))

    lines = (
        f"[fingerprints.caffe.{name}]\nkernel = [{format_fingerprint(kernel)}]\nbias = [{format_fingerprint(bias)}]\n"
        for name, (kernel, bias) in parameters.items()
    )
    return "\n".join(lines)


def _matches(tensor: np.ndarray, expected: list[float]) -> bool:
    return np.allclose(fingerprint(tensor), expected, rtol=TOLERANCE, atol=TOLERANCE * expected[0])


def _explain(kernel: np.ndarray, expected: list[float]) -> str | None:
    """Return how the expected kernel was misread as this one; None if no known misreading explains it."""
    if kernel.shape[2] == 3:
        if _matches(kernel[:, :, ::-1], expected):
            return "channels look RGB, expected BGR"
        for name, undo in _MISREADINGS.items():
            if _matches(undo(kernel)[:, :, ::-1], expected):
                return f"the kernel is {name}, and its channels look RGB, expected BGR"
    return next(
        (f"the kernel is {name}" for name, undo in _MISREADINGS.items() if _matches(undo(kernel), expected)), None
    )


def find_difference(parameters: Parameters) -> tuple[str, str | None] | None:
    """Find the first layer that differs from the trained Caffe weights.

    Returns:
        (layer, reason), where the reason is None if it is unknown; or None if all layers match.
    """
    for name, expected in manifest.load_caffe_fingerprints().items():
        if name not in parameters:
            break
        kernel, bias = parameters[name]
        if not _matches(kernel, expected["kernel"]):
            return name, _explain(kernel, expected["kernel"])
        if not _matches(bias, expected["bias"]):
            return name, "its kernel matches but its bias does not"
    return None


def check(parameters: Parameters, flavour: str, *, architecture: Architecture = VGG19) -> str:
    """Check parameters against what is known of their flavour.

    Only VGG19's Caffe flavour has fingerprints. For any other flavour, the check is that the scale is plausible and
    that the kernels are not those of the Caffe flavour.

    Args:
        parameters: kernels and biases by layer.
        flavour: "caffe", "torchvision" or "self-taught".
        architecture: the network.

    Returns:
        One line that says what was checked.

    Raises:
        UserError: the parameters do not match; the line names the layer and, if it is known, the reason.
    """
    difference = find_difference(parameters)
    if flavour == "caffe" and architecture == VGG19:
        if difference:
            layer, reason = difference
            raise UserError(
                f"{layer} is not that of the Caffe VGG19: {reason or 'other values, from another network?'}"
            )
        known = [name for name in manifest.load_caffe_fingerprints() if name in parameters]
        return f"matches the Caffe fingerprints of {known[0]} to {known[-1]}"
    if not difference:
        raise UserError(
            f"block1_conv1 is that of the Caffe VGG19: these are weights of the flavour caffe, not "
            f"{architecture.name}'s of the flavour {flavour}"
        )
    low, high = _PLAUSIBLE_SPREAD
    for name, (kernel, _) in parameters.items():
        if not low <= (spread := float(kernel.std())) <= high:
            raise UserError(f"{name} is not a trained kernel: its spread is {spread:.2g}, expected {low:g} to {high:g}")
    return f"shapes and scale are right; there are no fingerprints of {architecture.name}'s {flavour} flavour"
