"""The time of each operation of one step on an accelerator.

    XLA_FLAGS=--xla_gpu_enable_command_buffer= python experiments/benchmarks/gpu_profile.py --size 1024

profiles the step of step.py on random weights and prints the operations that take the longest: their share, the layer
they belong to, and the compiler's call. ``--program FILE`` writes the compiled program. Without the flag, some
operations are hidden in the buffers of several that XLA launches at once.
"""

import argparse
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.append(str(Path(__file__).with_name("peers")))

import roofline
from nstjax_peer import NstjaxPeer  # pyright: ignore[reportMissingImports]
from peers.recipe import RECIPES
from step import draw_parameters, prepare_pictures, write_task

from nstjax import optimise

STEPS = 5


def profile(call: Any) -> Path:
    """Run a function under JAX's profiler and return the file of the profile."""
    folder = Path(tempfile.mkdtemp())
    with jax.profiler.trace(str(folder)):
        call()
    return next(folder.rglob("*.xplane.pb"))


def collect_times(path: Path) -> tuple[dict[str, list[float]], float]:
    """Return ({operation: [seconds of each call]}, seconds from the first to the last) on the first GPU.

    Without a GPU, the operations are those of the CPU's threads.
    """
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    chosen = [plane for plane in planes if "GPU:0" in plane.name] or [p for p in planes if "CPU" in p.name]
    times: dict[str, list[float]] = defaultdict(list)
    first, last = float("inf"), 0.0
    for plane in chosen:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" not in stats or not (line.name.startswith("Stream") or "CPU" in plane.name):
                    continue
                times[str(stats["hlo_op"])].append(event.duration_ns / 1e9)
                first, last = min(first, event.start_ns / 1e9), max(last, (event.start_ns + event.duration_ns) / 1e9)
    return times, last - first


def describe_operations(program: str) -> dict[str, str]:
    """Return {operation: its shape, its call and the layer it belongs to} of a compiled program's text."""
    descriptions = {}
    for line in program.splitlines():
        if not (match := re.match(r"\s*(?:ROOT )?%?([\w.-]+) = (\(?\S+?\[[\d,]*\])\S* .*?([\w-]+)\(", line)):
            continue
        name, shape, kind = match.groups()
        target = re.search(r'custom_call_target="([^"]+)"', line)
        scope = re.search(r'op_name="([^"]+)"', line)
        path = re.sub(r"jit\(\w+\)/|while/body/|closed_call/", "", scope.group(1)) if scope else ""
        descriptions[name] = f"{target.group(1) if target else kind} {shape} {path[-90:]}"
    return descriptions


def main() -> None:
    """Print the operations of a step, the longest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--program", type=Path, help="file for the compiled program's text")
    arguments = parser.parse_args()
    peer = NstjaxPeer()
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.npz"
        parameters, layers = draw_parameters(), RECIPES["tutorial"]
        inputs = prepare_pictures("example:portrait", "example:brushwork", arguments.size)
        write_task(task, parameters, inputs, layers)
        peer.load(str(task), jax.default_backend(), backend="direct", dtype=arguments.dtype)
    program = optimise.run_chunk.lower(peer.state, peer.problem, np.int32(0), method=peer.method).compile().as_text()
    assert program is not None
    if arguments.program:
        arguments.program.write_text(program)
    peer.step(STEPS)
    seconds = min(peer.step(STEPS)["seconds"] for _ in range(3)) / STEPS
    times, elapsed = collect_times(profile(lambda: peer.step(STEPS)))
    busy = sum(map(sum, times.values()))
    calls = sum(map(len, times.values()))
    height, width, _ = peer.start.shape
    shapes = {name: kernel.shape for name, (kernel, _) in parameters.items()}
    rate = roofline.count_operations(height, width, shapes, layers.style_layers) / seconds
    arithmetic = "bfloat16" if arguments.dtype == "bfloat16" else "tf32"
    share = rate / roofline.measure_matrix_rate(arithmetic, jax.devices()[0])
    print(
        f"{width}x{height} pixels, {arguments.dtype}, on {jax.devices()[0].device_kind}: {rate / 1e12:.1f} TFLOP/s, "
        f"{share:.0%} of the rate of large matrix products in {arithmetic}\n"
    )
    print(
        f"{1e3 * seconds:.3f} ms a step without the profiler; with it "
        f"{1e3 * elapsed / STEPS:.3f} ms, of which operations take {1e3 * busy / STEPS:.3f} ms, "
        f"in {calls / STEPS:.0f} calls\n"
    )
    print("| share | ms a step | calls | operation | |\n|---|---|---|---|---|")
    descriptions = describe_operations(program)
    for name, durations in sorted(times.items(), key=lambda entry: -sum(entry[1]))[: arguments.rows]:
        total = sum(durations)
        counts = f"{total / busy:.1%} | {1e3 * total / STEPS:.4f} | {len(durations) / STEPS:g}"
        print(f"| {counts} | {name} | {descriptions.get(name, '')} |")


if __name__ == "__main__":
    main()
