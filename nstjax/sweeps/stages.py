"""The stages of a group of members: one for each size of the picture, from coarse to fine, and perhaps one more."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.experiment.resolve import Resolved, make_stage_run
from nstjax.optimise import Method, State
from nstjax.runs.stages import get_shape, make_resize
from nstjax.sweeps.batch import Members, identify_pictures


class GroupStage:
    """One stage of a group of members; see ``runs.stages.Stage``.

    Args:
        members: the members of the sweep, at this stage.
        numbers: the members that are computed.
        index: index of the stage.
        end: number of steps after which the stage ends.
        before: the method of the stage before; at the first one, that of the members.
        config: the settings that the members share.
    """

    def __init__(
        self, members: Members, numbers: Sequence[int], index: int, *, end: int, before: Method, config: Config
    ):
        self._members, self._numbers, self._index = members, numbers, index
        self._resize = jax.jit(jax.vmap(make_resize(before, members.method, members.pictures, config, index)))
        self.shape, self.end, self.method = get_shape(members.pictures), end, members.method
        self.abstract_state = members.make_abstract_state(len(numbers))
        self.compile = functools.cache(functools.partial(members.make_program, numbers))

    def make_initial_state(self) -> State:
        """Make the stacked states before step 0."""
        return self._members.make_initial_state(self._numbers)

    def resize(self, state: State) -> State:
        """Turn the last states of the stage before into the first states of this one."""
        details = self._members.find_details(self._numbers, self._index)
        return self.device_put(self._resize(state, details))

    def device_put(self, state: State) -> State:
        """Spread a stacked state over the devices."""
        return self._members.device_put(state)


def make_group_stages(members_by_stage: Sequence[Members], numbers: Sequence[int], config: Config) -> list[GroupStage]:
    """Make the stages of a group.

    Args:
        members_by_stage: the members of the sweep, at each stage.
        numbers: the members that are computed.
        config: the settings that the members share.
    """
    stages: list[GroupStage] = []
    for index, (end, members) in enumerate(zip(config.stage_ends, members_by_stage, strict=True)):
        before = stages[-1].method if stages else members.method
        stages.append(GroupStage(members, numbers, index, end=end, before=before, config=config))
    return stages


def make_members(runs: Sequence[Resolved], inputs: Sequence[Inputs], devices: Sequence[Any]) -> list[Members]:
    """Make all members of a sweep, at each of its stages. Equal pictures stay the same arrays."""
    distinct = {identify_pictures(pictures): pictures for pictures in inputs}
    resized = {identity: resize_to_each_size(pictures, runs[0].config) for identity, pictures in distinct.items()}
    by_member = []
    for pictures in inputs:
        first, *others = resized[identify_pictures(pictures)]
        by_member.append([replace(first, start=pictures.start), *others])
    by_size = [*zip(*by_member, strict=True)]
    by_stage = [by_size[min(index, len(by_size) - 1)] for index in range(runs[0].config.count_stages())]
    return [
        Members(
            [make_stage_run(run, pictures, index) for run, pictures in zip(runs, level, strict=True)], level, devices
        )
        for index, level in enumerate(by_stage)
    ]
