"""What JAX computes on, and how much memory it has left."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jax
import psutil

from nstjax.system import memory


@dataclass(frozen=True)
class Device:
    """The device of a run."""

    platform: str  # cpu, gpu or tpu
    kind: str
    count: int


def current() -> Device:
    """The device that JAX computes on by default, and how many of them this process has."""
    devices = jax.local_devices()
    kind = devices[0].device_kind
    return Device(devices[0].platform, processor() if kind == "cpu" else kind, len(devices))


def processor() -> str:
    """The processor's name and its cores: on both depends in which order XLA adds up."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not on Linux
    return f"{name}, {os.cpu_count()} cores"


def free_memory() -> int | None:
    """Bytes that are free on the default device; None where it does not tell."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit, used = stats.get("bytes_limit"), stats.get("bytes_in_use", 0)
        return None if limit is None else limit - used
    memory.give_back()
    free = psutil.virtual_memory().available
    # In a container the limit of its group of processes counts, which the machine's own figures do not show.
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):
        return free
    return min(free, limit - used)


def lines() -> list[str]:
    """What JAX sees, a line a device, for people."""
    found = []
    for device in jax.devices():
        stats = device.memory_stats() or {}
        limit = f", {stats['bytes_limit'] / 2**30:.1f} GiB" if "bytes_limit" in stats else ""
        found.append(f"{device.platform}:{device.id} {device.device_kind}{limit} (process {device.process_index})")
    return [f"jax {jax.__version__} computes on {jax.default_backend()}", *found]
