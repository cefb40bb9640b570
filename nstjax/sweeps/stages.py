"""The stages of a group of members: one for each size of the picture, from coarse to fine."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
from jax import Array

from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.experiment.resolve import Resolved, resize_run
from nstjax.optimise import State
from nstjax.runs.stages import Stage, get_shape, make_resize
from nstjax.sweeps.batch import Members, identify_pictures


def make_group_stages(members_by_size: Sequence[Members], numbers: Sequence[int], config: Config) -> list[Stage]:
    """Make the stages of a group.

    Args:
        members_by_size: the members of the sweep, at each size.
        numbers: the members that are computed.
        config: the settings that the members share.
    """
    stages: list[Stage] = []
    for end, members in zip(config.size_ends, members_by_size, strict=True):
        before, last = stages[-1].method if stages else members.method, members is members_by_size[-1]
        resize = jax.jit(jax.vmap(make_resize(before, members.method, members.pictures, config, last=last)))
        details = members.find_details(numbers, last=last)
        stages.append(
            Stage(
                shape=get_shape(members.pictures),
                end=end,
                method=members.method,
                abstract_state=members.make_abstract_state(len(numbers)),
                make_initial_state=functools.partial(members.make_initial_state, numbers),
                resize=functools.partial(_resize, resize, details, members),
                device_put=members.device_put,
                compile=functools.cache(functools.partial(members.make_program, numbers)),
            )
        )
    return stages


def _resize(resize: Callable[..., State], details: Array | None, members: Members, state: State) -> State:
    return members.device_put(resize(state, details))


def make_members(runs: Sequence[Resolved], inputs: Sequence[Inputs], devices: Sequence[Any]) -> list[Members]:
    """Make all members of a sweep, at each of its sizes. Equal pictures stay the same arrays."""
    distinct = {identify_pictures(pictures): pictures for pictures in inputs}
    resized = {identity: resize_to_each_size(pictures, runs[0].config) for identity, pictures in distinct.items()}
    by_member = []
    for pictures in inputs:
        first, *others = resized[identify_pictures(pictures)]
        by_member.append([replace(first, start=pictures.start), *others])
    return [
        Members([resize_run(run, pictures) for run, pictures in zip(runs, by_size, strict=True)], by_size, devices)
        for by_size in zip(*by_member, strict=True)
    ]
