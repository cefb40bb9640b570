"""The devices that JAX computes on, and the memory that they have left."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import jax
import psutil

from nstjax.system import memory

CPU_FACTOR = 1.6
"""Memory of a program on a CPU over XLA's count, which leaves out the working space of convolutions: resident memory
grew by 1.5 times the count at 256 and 384 pixels."""


@dataclass(frozen=True)
class Device:
    """The device of a run."""

    platform: str  # cpu, gpu or tpu
    kind: str
    count: int
    processes: int  # that compute together, each with so many devices


def current_device() -> Device:
    """Return JAX's default device, and the number of such devices that this process has."""
    devices = jax.local_devices()
    kind = devices[0].device_kind
    name = processor_name() if kind == "cpu" else kind
    return Device(devices[0].platform, name, len(devices), jax.process_count())


def processor_name() -> str:
    """Return the processor's name and number of cores, which decide the order in which XLA adds up."""
    name = _read_processor("model name") or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def list_instruction_sets() -> list[str]:
    """List the instruction sets for arithmetic on vectors and matrices that the processor has; none if unknown."""
    flags = (_read_processor("flags") or _read_processor("Features")).split()
    sets = r"fma|avx2|avx_vnni|avx512f|avx512_(bf16|fp16|vnni)|amx_\w+|asimd|bf16|i8mm|sve2?|sme2?"
    return [flag for flag in flags if re.fullmatch(sets, flag)]


def multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions for products of bfloat16 that XLA is known to use."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(list_instruction_sets())


def _read_processor(entry: str) -> str:
    """Return an entry of the first processor that Linux lists; "" if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""  # not on Linux
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(entry)), "")


def available_memory() -> int | None:
    """Return the number of free bytes on the default device; None if the device does not report memory."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit, used = stats.get("bytes_limit"), stats.get("bytes_in_use", 0)
        return None if limit is None else limit - used
    memory.release_freed_memory()
    free = psutil.virtual_memory().available
    # In a container the limit of its control group counts, which the machine's own figures do not show.
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):
        return free
    return min(free, limit - used)


def used_memory() -> int:
    """Return the number of bytes in use on the default device; for a CPU, those of this process."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_in_use", 0)
    return psutil.Process().memory_info().rss


def describe_devices() -> list[str]:
    """Return a readable line for JAX's version and backend, and one for each device."""
    lines = [f"jax {jax.__version__} computes on {jax.default_backend()}"]
    for device in jax.devices():
        stats = device.memory_stats() or {}
        limit = f", {stats['bytes_limit'] / 2**30:.1f} GiB" if "bytes_limit" in stats else ""
        lines.append(f"{device.platform}:{device.id} {device.device_kind}{limit} (process {device.process_index})")
    return lines
