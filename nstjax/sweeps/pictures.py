"""The pictures of each member of a sweep."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs, check_sources, from_arrays, prepare, replace_start
from nstjax.experiment.plan import PICTURES, to_settings
from nstjax.experiment.sources import Source, source_name
from nstjax.storage.sweep_folder import Plan


def name_pictures(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return a different name for each picture: that of its file, and of as many folders around it as that takes.

    Only a picture that is given twice has the same name twice.
    """
    paths = [_locate(source, number) for number, source in enumerate(sources, 1)]
    for depth in range(max(len(path.parts) for path in paths)):
        folders = [path.parts[:-1][-depth:] if depth else () for path in paths]
        for ends in ([path.stem for path in paths], [path.name for path in paths]):
            names = ["/".join((*parts, end)) for parts, end in zip(folders, ends, strict=True)]
            # The folders of the members are named after them, and some systems do not distinguish capital letters.
            if len({name.replace("/", "_").casefold() for name in names}) == len(names):
                return tuple(names)
    return tuple(path.stem for path in paths)


def _locate(source: Source, number: int) -> PurePath:
    """Return the path of a picture, of one part if it is no file."""
    if isinstance(source, str | os.PathLike) and not os.fspath(source).startswith("example:"):
        return PurePath(os.path.abspath(source))
    name = source_name(source)
    return PurePath(name if isinstance(source, str) else f"{name}-{number}")


def check_pictures(
    pictures: list[list[Any]], config: Config, *, blend: Source | Sequence[Source] = (), init: Any = None, **masks: Any
) -> None:
    """Check quickly what ``prepare_members`` will be given; see ``inputs.check_sources``."""
    contents, styles = pictures
    for k in range(max(len(contents), len(styles))):
        content, style = contents[min(k, len(contents) - 1)], styles[min(k, len(styles) - 1)]
        check_sources(content, [style, *_to_list(blend)], config, **masks)


def prepare_members(
    plan: Plan,
    experiment: Experiment,
    pictures: list[list[Any]],
    *,
    blend: Source | Sequence[Source] = (),
    **options: Any,
) -> list[Inputs]:
    """Prepare the pictures of each member. Equal pictures are the same arrays.

    Args:
        plan: the plan of the sweep.
        experiment: the experiment, with its settings.
        pictures: the content pictures, and the styles.
        blend: further styles, blended with each of the styles.
        options: masks and a start, as ``prepare`` takes them.
    """
    axes = {axis.name: axis.values for axis in plan.axes}
    further = _to_list(blend)
    prepared: dict[tuple[int, int], Inputs] = {}
    with_start: dict[Any, Inputs] = {}
    inputs = []
    for assignment in plan.assignments():
        config = experiment.replace(**to_settings(assignment)).config
        content, style = (axes[name].index(assignment[name]) if name in axes else 0 for name in PICTURES)
        pair = (content, style)
        if pair not in prepared:
            prepared[pair] = prepare(pictures[0][content], [pictures[1][style], *further], experiment.config, **options)
        random = config.init_noise or config.init_deviation or config.init != "content"
        start = (pair, config.seed if random else None, config.init_noise, config.init_deviation)
        if start not in with_start:
            with_start[start] = replace_start(prepared[pair], config)
        inputs.append(with_start[start])
    return inputs


def _to_list(blend: Source | Sequence[Source]) -> list[Any]:
    return [*blend] if isinstance(blend, list | tuple) else [blend]


def complete_inputs(plan: Plan, config: Config, known: Mapping[int, Inputs]) -> dict[int, Inputs]:
    """Return the pictures of all members that have any, given those of the members whose folders are there.

    Another member gets its pictures from one that has the same. If there is none, it is left out.

    Args:
        plan: the plan of the sweep.
        config: settings of any member.
        known: the pictures of the members whose folders are there, by their numbers.
    """
    assignments = plan.assignments()

    def get_pictures(number: int) -> list[Any]:
        return [assignments[number].get(name) for name in PICTURES]

    completed = {}
    for number, assignment in enumerate(assignments):
        equal = [inputs for other, inputs in known.items() if get_pictures(other) == get_pictures(number)]
        if number in known:
            completed[number] = known[number]
        elif equal:
            completed[number] = replace_start(equal[0], config.replace(**to_settings(assignment)))
    return completed


def share_arrays(inputs: list[Inputs]) -> list[Inputs]:
    """Return the same pictures, with equal ones as one array."""
    arrays: dict[bytes, np.ndarray] = {}

    def share(array: np.ndarray) -> np.ndarray:
        return arrays.setdefault(hashlib.sha256(array.tobytes()).digest(), array)

    return [
        from_arrays({name: share(array) for name, array in member.to_arrays().items()}, member.names)
        for member in inputs
    ]
