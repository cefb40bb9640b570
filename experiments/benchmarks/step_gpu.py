"""The GPU's part of step.py: the same comparison on the accelerator.

Each precision is shown as a fraction of the GPU's rate in products of large matrices of that precision. float32 is
float32 throughout ("highest"); tf32 rounds the factors of products to ten bits; bf16 convolves in bfloat16.
"""

import dataclasses

import jax
import roofline
from peers.processes import Peer, Setup

PEERS = (
    Peer("nstjax float32", "nstjax", {"backend": "direct", "precision": "highest"}),
    Peer("nstjax tf32", "nstjax", {"backend": "direct", "precision": "high"}, "tf32"),
    Peer("nstjax bf16", "nstjax", {"backend": "direct", "dtype": "bfloat16"}, "bfloat16"),
    Peer("PyTorch float32", "torch"),
    Peer("PyTorch tf32", "torch", {"dtype": "tf32"}, "tf32"),
    Peer("PyTorch bf16", "torch", {"dtype": "bfloat16"}, "bfloat16"),
    Peer("PyTorch compiled float32", "torch", {"compiled": True}),
    Peer("PyTorch compiled tf32", "torch", {"dtype": "tf32", "compiled": True}, "tf32"),
    Peer("PyTorch compiled bf16", "torch", {"dtype": "bfloat16", "compiled": True}, "bfloat16"),
)


def move_to_gpu(setup: Setup) -> Setup:
    """Return the same setup on the accelerator."""
    return dataclasses.replace(setup, device="gpu")


def measure_rates() -> dict[str, float]:
    """Return {arithmetic: operations per second in products of large matrices} of the first GPU."""
    arithmetics = ("float32", "tf32", "bfloat16")
    return {arithmetic: roofline.measure_matrix_rate(arithmetic, jax.devices()[0]) for arithmetic in arithmetics}
