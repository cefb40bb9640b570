"""The members and groups of a sweep as its folder holds them, with what is lost replaced where the rest says it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs
from nstjax.experiment.plan import to_settings
from nstjax.experiment.record import RunRecord
from nstjax.experiment.resolve import Resolved, restore, vary_run
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.sweep_folder import Group, Plan, SweepFolder
from nstjax.sweeps.groups import create_member, is_attached, point_to_group
from nstjax.sweeps.pictures import complete_inputs, share_arrays


@dataclass(frozen=True, eq=False)
class Restored:
    """A sweep as it is read from its folder.

    Args:
        groups: the groups that were begun.
        runs: the run of each member.
        inputs: the pictures of each member.
        missing: numbers of the members that are in no group.
        experiment: the experiment.
    """

    groups: list[Group]
    runs: list[Resolved]
    inputs: list[Inputs]
    missing: list[int]
    experiment: Experiment


def restore_members(
    folder: SweepFolder, plan: Plan, listener: Listener, *, steps: int | None, experiment: Experiment | None
) -> Restored:
    """Read the members and the groups of a sweep.

    Args:
        folder: the folder of the sweep.
        plan: its plan.
        listener: told of members that are left out.
        steps: extends every attached member to this number of steps; None to that of the longest.
        experiment: supplies the terms if they were made in Python.

    Raises:
        UserError: nothing was begun, or a file was changed or damaged.
    """
    run_folders = folder.started_members()
    records, pictures = _read_folders(run_folders)
    groups = folder.read_groups(records)
    if not groups or not run_folders:
        lost = "member" if groups else "group, with the state of its members,"
        raise UserError(f"no {lost} is left in {folder.path}: begin the sweep again with another --out")
    attached = {number: run_record for number, run_record in records.items() if "taken_out" not in run_record}
    # A process that extended the sweep may have been killed before it had written every record.
    longest = max((record.count_steps(run_record) for run_record in attached.values()), default=0)
    end = longest if steps is None else steps
    records |= {number: record.extend(run_record, end) for number, run_record in attached.items()}
    known = dict(zip(run_folders, share_arrays([*pictures.values()]), strict=True))
    head = min(run_folders)
    experiment = experiment or run_folders[head].read_experiment(records[head], listener.notice)
    first = restore(records[head], experiment, known[head], run_folders[head].weights, listener)
    inputs = complete_inputs(plan, first.config, known)
    runs, names = [], plan.member_names()
    for number, assignment in enumerate(plan.assignments()):
        if number in records:
            run = replace(first, config=record.parse_config(records[number]), record=records[number])
        elif number in inputs:
            run = vary_run(first, experiment, inputs[number], to_settings(assignment))
        else:
            listener.warning(f"{names[number]} is left out: its folder is not there, nor are its pictures in another")
            # Its group still computes it, with pictures that are there, and does not write it.
            run, inputs[number] = replace(first, record={**first.record, "taken_out": None}), known[head]
        runs.append(run)
    begun = {number for group in groups for number in group.members}
    missing = [number for number, run in enumerate(runs) if number not in begun and is_attached(run)]
    return Restored(groups, runs, [inputs[number] for number in range(len(runs))], missing, experiment)


def _read_folders(run_folders: Mapping[int, RunFolder]) -> tuple[dict[int, RunRecord], dict[int, Inputs]]:
    """Return the records and the pictures of the members."""
    records, inputs = {}, {}
    for number, folder in run_folders.items():
        try:
            records[number] = folder.read_record()
            inputs[number] = folder.read_inputs(records[number])
        except UserError as error:
            raise UserError(f"{error}; or remove {folder.path}, and the sweep goes on without what is in it") from None
    return records, inputs


def attach_members(restored: Restored, folder: SweepFolder, groups: list[Group], listener: Listener) -> None:
    """Point the members of groups to these, and write again the folders of members that are lost.

    Args:
        restored: the sweep; its runs are changed.
        folder: its folder.
        groups: the groups that this process continues.
        listener: told of folders that are written again.
    """
    run_folders, runs = folder.member_folders(), restored.runs
    for group in groups:
        for number in group.members:
            if is_attached(runs[number]):
                runs[number] = point_to_group(runs[number], number, run_folders[number], group, folder)
                if not run_folders[number].config.exists():
                    listener.warning(f"{run_folders[number].path} is written again: its record was not there")
                    create_member(run_folders[number], runs[number], restored.inputs[number], restored.experiment)
