"""The stages of a group of members: one for each size of the picture, from coarse to fine."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.experiment.resolve import Resolved, resize_run
from nstjax.optimise import Method, State
from nstjax.runs.stages import get_shape, make_resize
from nstjax.sweeps.batch import Members, identify_pictures


class GroupStage:
    """One size of a group of members; see ``runs.stages.Stage``.

    Args:
        members: the members of the sweep, at this size.
        numbers: the members that are computed.
        end: number of steps after which the stage ends.
        before: the method at the size before; at the first size, that of the members.
        last: whether this is the last size.
        config: the settings that the members share.
    """

    def __init__(
        self, members: Members, numbers: Sequence[int], end: int, *, before: Method, last: bool, config: Config
    ):
        self._members, self._numbers, self._last = members, numbers, last
        self._resize = jax.jit(jax.vmap(make_resize(before, members.method, members.pictures, config, last=last)))
        self.shape, self.end, self.method = get_shape(members.pictures), end, members.method
        self.abstract_state = members.make_abstract_state(len(numbers))
        self.compile = functools.cache(functools.partial(members.make_program, numbers))

    def make_initial_state(self) -> State:
        """Make the stacked states before step 0."""
        return self._members.make_initial_state(self._numbers)

    def resize(self, state: State) -> State:
        """Turn the last states of the stage before into the first states of this one."""
        details = self._members.find_details(self._numbers, last=self._last)
        return self.device_put(self._resize(state, details))

    def device_put(self, state: State) -> State:
        """Spread a stacked state over the devices."""
        return self._members.device_put(state)


def make_group_stages(members_by_size: Sequence[Members], numbers: Sequence[int], config: Config) -> list[GroupStage]:
    """Make the stages of a group.

    Args:
        members_by_size: the members of the sweep, at each size.
        numbers: the members that are computed.
        config: the settings that the members share.
    """
    stages: list[GroupStage] = []
    for end, members in zip(config.size_ends, members_by_size, strict=True):
        before = stages[-1].method if stages else members.method
        last = members is members_by_size[-1]
        stages.append(GroupStage(members, numbers, end, before=before, last=last, config=config))
    return stages


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
