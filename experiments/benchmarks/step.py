"""The speed, memory and accuracy of one step of style transfer, here and in PyTorch and TensorFlow.

    python experiments/benchmarks/step.py example:portrait example:brushwork --torch-python ENV/bin/python

All peers make the same step (peers/recipe.py), each in a process of its own, and are timed in turn. Their first losses
must agree, else nothing is measured. Nothing else should run meanwhile: threads that wait for each other suffer from it
far more in some libraries than in others, so each table says how much did. Prints a table for each size, and writes
them, with the machine and the versions, to a markdown file.

A ratio is a peer's time over PyTorch's in float32 in the same round; below 1 is faster. "GFLOP/s" are the direct
method's operations over the time: a method that needs fewer may surpass the rate of the machine's own matrix products.
Peak memory is the process's resident memory, imports and compilation included, on a GPU the device's. The gradient, at
the start, is compared with PyTorch's in float64.

Where JAX has a GPU, step_gpu.py's part follows. Without --weights the network's are random (He et al. 2015), for
which every figure but the losses is the same. On two CPU cores the default takes about half an hour.
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
from interleaved import Racer, compete, interpreters
from peers import recipe
from peers.processes import Failed, Peer, Setting
from tables import Scale, conditions, table

from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, prepare
from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.weights import Weights, find
from nstjax.system import devices
from nstjax.system.files import whole_file

NETWORK = VGG19.convolutions_to(recipe.CONTENT_LAYER)

Parameters = Mapping[str, tuple[np.ndarray, np.ndarray]]

CPU_PEERS = (
    Peer("nstjax", "nstjax", {"backend": "winograd"}),
    Peer("nstjax direct", "nstjax", {"backend": "direct"}),
    Peer("nstjax bf16", "nstjax", {"backend": "direct", "dtype": "bfloat16"}, "bfloat16"),
    Peer("PyTorch float32", "torch"),
    Peer("PyTorch bf16", "torch", {"dtype": "bfloat16"}, "bfloat16"),
    Peer("TensorFlow eager", "tensorflow"),
    Peer("TensorFlow function", "tensorflow", {"function": True}),
)


def he_parameters(seed: int = 0) -> Parameters:
    """Random weights of VGG19's shapes, scaled so that activations neither grow nor fade; no biases.

    Reference: He et al., "Delving Deep into Rectifiers", 2015.
    """
    generator, parameters = np.random.default_rng(seed), {}
    for name in NETWORK:
        shape = VGG19.kernel_shape(name)
        kernel = generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:3])))
        parameters[name] = (kernel, np.zeros(shape[3], np.float32))
    return parameters


def read_parameters(source: str) -> Parameters:
    """Those of a file or a name.

    Raises:
        UserError: there are none, or they are of another flavour than the recipe's.
    """
    weights = find(source, layers=NETWORK)
    if weights.flavour.name != "caffe":
        raise UserError(f"the recipe needs weights of the caffe flavour, not {weights.flavour.name}: {source}")
    return {name: weights.parameters[name] for name in NETWORK}


def pictures(content: str, style: str, size: int) -> Inputs:
    """Both pictures with a long side of ``size``, and a start: the content with a tenth of noise mixed in."""
    layers = {"content": (recipe.CONTENT_LAYER,), "style": recipe.STYLE_LAYERS}
    return prepare(content, style, Config(layers=layers, size=size, enlarge=True, init_noise=0.1))


def write_task(path: Path, parameters: Parameters, inputs: Inputs) -> None:
    """What every peer loads; see peers/recipe.py."""
    arrays: dict[str, Any] = {"content": inputs.content, "style": inputs.style, "start": inputs.start}
    for name, (kernel, bias) in parameters.items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    np.savez(path, **arrays)


def section(
    peers: Sequence[Peer],
    setting: Setting,
    parameters: Parameters,
    inputs: Inputs,
    *,
    rates: Mapping[str, float],
    rounds: int,
    steps: int,
) -> tuple[str, list[Racer]]:
    """Measure one size: (its part of the report, what was measured)."""
    write_task(setting.task, parameters, inputs)
    outcome = compete(peers, setting, rounds=rounds, steps=steps)
    (height, width, _), (style_height, style_width, _) = inputs.content.shape, inputs.style.shape
    operations = roofline.step_operations(height, width, {name: it.shape for name, (it, _) in parameters.items()})
    limits = [
        f"{name} {rate / 1e9:,.1f} GFLOP/s, so no direct method below {operations / rate:.4g} s"
        for name, rate in rates.items()
    ]
    lines = [
        f"## {max(height, width)} pixels, {setting.device.upper()}",
        f"Picture {width}x{height}, style {style_width}x{style_height}; {rounds} rounds of {steps} steps. A step is "
        f"{operations / 1e9:,.2f} GFLOP; the rate of matrix products is {'; '.join(limits)}.",
        *outcome.notes,
    ]
    if outcome.racers:
        after = 1 + (rounds + 1) * steps
        lines += [table(outcome.racers, Scale(operations, rates), steps=after), conditions(outcome, steps=steps)]
    return "\n\n".join(lines), outcome.racers


def machine() -> list[str]:
    """What it is, a line each."""
    memory = psutil.virtual_memory().total / 2**30
    return [f"{devices.processor()}, {memory:.0f} GiB of memory", *devices.lines()]


def versions(racers: Sequence[Racer]) -> list[str]:
    """What each library's peers have said, a line a library."""
    said = {racer.peer.library: racer.versions for racer in racers}
    return [f"{library}: {', '.join(f'{k} {v}' for k, v in it.items())}" for library, it in said.items()]


def report(path: Path, weights: str, command: Sequence[str], sections: Sequence[str], racers: Sequence[Racer]) -> None:
    """Write the file, whole or not at all."""
    lines = [f"# One step, side by side, {datetime.date.today()}", f"`{shlex.join(command)}`, weights: {weights}"]
    lines += ["\n".join(f"- {line}" for line in (*machine(), *versions(racers))), *sections]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(("\n\n".join(lines) + "\n").encode())


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content", help="a file, or example:portrait")
    parser.add_argument("style", help="a file, or example:brushwork")
    parser.add_argument("--weights", help="a VGG19 of the caffe flavour, as nstjax weights lists or converts them")
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 384, 512], help="long sides in pixels")
    parser.add_argument("--gpu-sizes", type=int, nargs="*", default=[256, 512, 1024, 2048], help="likewise on a GPU")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="in a turn")
    names = list(dict.fromkeys(peer.name for peer in (*CPU_PEERS, *step_gpu.PEERS)))
    parser.add_argument("--peers", nargs="+", choices=names, metavar="PEER", help=", ".join(names))
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--tensorflow-python", help="an interpreter that has TensorFlow")
    parser.add_argument("--allocator", choices=("keep", "default"), default="keep", help="whether malloc keeps memory")
    parser.add_argument("--out", type=Path, help="default: experiments/results/DATE-benchmark.md")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace, folder: Path, publish: Callable[[Sequence[str], Sequence[Racer]], None]) -> None:
    """Measure everything, printing it on the way, and publish what there is after each size."""
    parameters = read_parameters(arguments.weights) if arguments.weights else he_parameters()
    pythons = interpreters(arguments.torch_python, arguments.tensorflow_python)
    timing = {"rounds": arguments.rounds, "steps": arguments.steps}
    on_cpu = Setting(folder / "task.npz", folder, pythons, "cpu", arguments.allocator == "keep")
    sections, racers = [], []

    def measure(peers: Sequence[Peer], setting: Setting, size: int, rates: Mapping[str, float]) -> None:
        chosen = [peer for peer in peers if not arguments.peers or peer.name in arguments.peers]
        inputs = pictures(arguments.content, arguments.style, size)
        text, measured = section(chosen, setting, parameters, inputs, rates=rates, **timing)
        print(text, "\n", flush=True)
        sections.append(text)
        racers.extend(measured)
        publish(sections, racers)

    if arguments.sizes:
        rates = {"float32": roofline.matrix_rate("float32", jax.devices("cpu")[0])}
        for size in arguments.sizes:
            measure(CPU_PEERS, on_cpu, size, rates)
    if jax.default_backend() != "gpu":
        print("no GPU here: the CPU part only")
        return
    rates = step_gpu.rates()
    for size in arguments.gpu_sizes:
        measure(step_gpu.PEERS, step_gpu.on_gpu(on_cpu), size, rates)
    weights = Weights(dict(parameters), FLAVOURS["caffe"], "for the benchmark")
    sections.append(step_gpu.sweep(arguments.content, arguments.style, weights, folder))
    publish(sections, racers)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    arguments = options(argv)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peers need the GPU's memory too
    path = arguments.out or Path(f"experiments/results/{datetime.date.today()}-benchmark.md")
    command = ["python", "experiments/benchmarks/step.py", *(sys.argv[1:] if argv is None else argv)]
    weights = arguments.weights or "random (He), seed 0"
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(arguments, Path(folder), functools.partial(report, path, weights, command))
    except (UserError, Failed) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
