"""The speed, memory and accuracy of one step of style transfer, here and in PyTorch and TensorFlow.

    python experiments/benchmarks/step.py example:portrait example:brushwork --torch-python ENV/bin/python

All peers make the same step (peers/recipe.py), each in a separate process, and are timed in turn. Their first losses
must agree, else nothing is measured. Nothing else should run meanwhile: it slows down threads that wait for each other,
in some libraries far more than in others, so each table says how much else ran. Prints a table for each size, and
writes all tables, with the machine and the versions, to a markdown file.

A ratio is a peer's time over that of PyTorch in float32 in the same round (of PyTorch's first peer, if that one is not
among --peers); below 1 is faster. "GFLOP/s" are the
operations of the direct method over the time: a method that needs fewer may exceed the rate of the machine's matrix
products. Peak memory is the resident memory of the process, imports and compilation included; on a GPU, memory of the
device. The gradient at the start is compared with PyTorch's in float64.

If JAX has a GPU, the part of step_gpu.py follows. Without --weights the network is random (He et al. 2015), which
changes no figure except the losses. On two CPU cores the default takes about an hour.
"""

import argparse
import datetime
import functools
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
import roofline
import step_gpu
from interleaved import PeerRun, compare_peers, find_interpreters
from peers import recipe
from peers.processes import Peer, PeerError, Setup
from tables import Scale, format_conditions, format_table

from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, prepare
from nstjax.network.architecture import VGG19
from nstjax.network.weights import find
from nstjax.system import devices
from nstjax.system.files import open_atomic

DEEPEST = recipe.RECIPES["tutorial"].content_layer
"""The deepest layer of all recipes."""

Parameters = Mapping[str, tuple[np.ndarray, np.ndarray]]

CPU_PEERS = (
    Peer("nstjax", "nstjax", {"backend": "winograd"}),
    Peer("nstjax direct", "nstjax", {"backend": "direct"}),
    Peer("nstjax bf16", "nstjax", {"backend": "winograd", "dtype": "bfloat16"}, "bfloat16"),
    Peer("PyTorch float32", "torch"),
    Peer("PyTorch bf16", "torch", {"dtype": "bfloat16"}, "bfloat16"),
    Peer("TensorFlow eager", "tensorflow"),
    Peer("TensorFlow function", "tensorflow", {"function": True}),
)


def draw_parameters(seed: int = 0) -> Parameters:
    """Draw random weights of VGG19's shapes, scaled so that activations neither grow nor fade; biases are zero.

    Reference: He et al., "Delving Deep into Rectifiers", 2015.
    """
    generator, parameters = np.random.default_rng(seed), {}
    for name in VGG19.convolutions_to(DEEPEST):
        shape = VGG19.kernel_shape(name)
        kernel = generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:3])))
        parameters[name] = (kernel, np.zeros(shape[3], np.float32))
    return parameters


def read_parameters(source: str) -> Parameters:
    """Read the weights of a file or of a source's name.

    Raises:
        UserError: there are none, or their flavour is not the recipe's.
    """
    weights = find(source, layers=[DEEPEST])
    if weights.flavour.name != "caffe":
        raise UserError(f"expected weights of the caffe flavour, but {source} has the flavour {weights.flavour.name}")
    return {name: weights.parameters[name] for name in VGG19.convolutions_to(DEEPEST)}


def prepare_pictures(content: str, style: str, size: int) -> Inputs:
    """Prepare both pictures with a long side of ``size``, and a start: the content with a tenth of noise mixed in."""
    layers = {"content": (DEEPEST,)}
    return prepare(content, style, Config(layers=layers, sizes=(size,), enlarge=True, init_noise=0.1))


def write_task(path: Path, parameters: Parameters, inputs: Inputs, layers: recipe.Recipe) -> None:
    """Write the .npz that every peer loads; see peers/recipe.py."""
    arrays: dict[str, Any] = {
        "content": inputs.content,
        "style": inputs.style,
        "start": inputs.start,
        **layers._asdict(),
    }
    for name, (kernel, bias) in parameters.items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    np.savez(path, **arrays)


def measure_size(
    peers: Sequence[Peer],
    setup: Setup,
    parameters: Parameters,
    inputs: Inputs,
    name: str,
    *,
    rates: Mapping[str, float],
    rounds: int,
    steps: int,
) -> tuple[str, list[PeerRun]]:
    """Measure one recipe at one size; return its section of the report and the measurements."""
    layers = recipe.RECIPES[name]
    parameters = {layer: parameters[layer] for layer in VGG19.convolutions_to(layers.content_layer)}
    write_task(setup.task, parameters, inputs, layers)
    comparison = compare_peers(peers, setup, rounds=rounds, steps=steps)
    (height, width, _), (style_height, style_width, _) = inputs.content.shape, inputs.style.shape
    shapes = {layer: kernel.shape for layer, (kernel, _) in parameters.items()}
    operations = roofline.count_operations(height, width, shapes, layers.style_layers)
    limits = [
        f"{arithmetic} {rate / 1e9:,.1f} GFLOP/s, so no direct method below {operations / rate:.4g} s"
        for arithmetic, rate in rates.items()
    ]
    lines = [
        f"## {max(height, width)} pixels, {setup.device.upper()}, layers of the {name} recipe",
        f"Picture {width}x{height}, style {style_width}x{style_height}; {rounds} rounds of {steps} steps. A step is "
        f"{operations / 1e9:,.2f} GFLOP; the rate of matrix products is {'; '.join(limits)}.",
        *comparison.notes,
    ]
    if comparison.runs:
        steps_made = 1 + (rounds + 1) * steps
        lines.append(format_table(comparison.runs, Scale(operations, rates), steps=steps_made))
        lines.append(format_conditions(comparison, steps=steps))
    return "\n\n".join(lines), comparison.runs


def describe_machine() -> list[str]:
    """Describe the processor, the memory and the devices, one line each."""
    memory = psutil.virtual_memory().total / 2**30
    sets = ", ".join(devices.list_instruction_sets()) or "unknown"
    processor = f"{devices.processor_name()}, {memory:.0f} GiB of memory, instruction sets: {sets}"
    return [processor, *devices.describe_devices()]


def describe_versions(runs: Sequence[PeerRun]) -> list[str]:
    """Describe the packages of each library's peers, one line per library."""
    versions = {run.peer.library: run.versions.items() for run in runs}
    return [f"{library}: {', '.join(f'{k} {v}' for k, v in packages)}" for library, packages in versions.items()]


def write_report(
    path: Path, weights: str, command: Sequence[str], sections: Sequence[str], runs: Sequence[PeerRun]
) -> None:
    """Write the report, whole or not at all."""
    lines = [f"# One step, side by side, {datetime.date.today()}", f"`{shlex.join(command)}`, weights: {weights}"]
    lines += ["\n".join(f"- {line}" for line in (*describe_machine(), *describe_versions(runs))), *sections]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as file:
        file.write(("\n\n".join(lines) + "\n").encode())


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content", help="a file, or example:portrait")
    parser.add_argument("style", help="a file, or example:brushwork")
    parser.add_argument("--weights", help="a VGG19 of the caffe flavour, as nstjax weights lists or converts them")
    parser.add_argument("--recipes", nargs="+", default=["tutorial", "default"], choices=recipe.RECIPES)
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 384, 512], help="long sides in pixels")
    parser.add_argument(
        "--gpu-sizes", type=int, nargs="*", default=[256, 512, 1024, 2048], help="long sides in pixels, on a GPU"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps in a turn")
    names = list(dict.fromkeys(peer.name for peer in (*CPU_PEERS, *step_gpu.PEERS)))
    parser.add_argument("--peers", nargs="+", choices=names, metavar="PEER", help=", ".join(names))
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--tensorflow-python", help="an interpreter that has TensorFlow")
    parser.add_argument(
        "--allocator", choices=("keep", "default"), default="keep", help="keep: malloc keeps freed memory"
    )
    parser.add_argument("--out", type=Path, help="default: experiments/results/DATE-benchmark.md")
    return parser.parse_args(argv)


def run_benchmark(
    arguments: argparse.Namespace, folder: Path, publish: Callable[[Sequence[str], Sequence[PeerRun]], None]
) -> None:
    """Measure all sizes; print each section, and publish all sections so far after each size."""
    parameters = read_parameters(arguments.weights) if arguments.weights else draw_parameters()
    pythons = find_interpreters(arguments.torch_python, arguments.tensorflow_python)
    timing = {"rounds": arguments.rounds, "steps": arguments.steps}
    cpu_setup = Setup(folder / "task.npz", folder, pythons, "cpu", arguments.allocator == "keep")
    sections, runs = [], []

    def measure(peers: Sequence[Peer], setup: Setup, size: int, rates: Mapping[str, float]) -> None:
        chosen = [peer for peer in peers if not arguments.peers or peer.name in arguments.peers]
        inputs = prepare_pictures(arguments.content, arguments.style, size)
        for name in arguments.recipes:
            section, size_runs = measure_size(chosen, setup, parameters, inputs, name, rates=rates, **timing)
            print(section, "\n", flush=True)
            sections.append(section)
            runs.extend(size_runs)
            publish(sections, runs)

    if arguments.sizes:
        rates = {"float32": roofline.measure_matrix_rate("float32", jax.devices("cpu")[0])}
        for size in arguments.sizes:
            measure(CPU_PEERS, cpu_setup, size, rates)
    if jax.default_backend() != "gpu":
        print("no GPU here: only the CPU part was measured")
        return
    rates = step_gpu.measure_rates()
    for size in arguments.gpu_sizes:
        measure(step_gpu.PEERS, step_gpu.move_to_gpu(cpu_setup), size, rates)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the report."""
    arguments = parse_arguments(argv)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peers need the GPU's memory too
    path = arguments.out or Path(f"experiments/results/{datetime.date.today()}-benchmark.md")
    command = ["python", "experiments/benchmarks/step.py", *(sys.argv[1:] if argv is None else argv)]
    weights = arguments.weights or "random (He), seed 0"
    try:
        with tempfile.TemporaryDirectory() as folder:
            run_benchmark(arguments, Path(folder), functools.partial(write_report, path, weights, command))
    except (UserError, PeerError) as error:
        print(f"step.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
