"""A cluster: processes, on one machine or on several, whose devices compute one program together.

A process that is alone leads, and everything here is free of cost for it. The others follow the leader: they take part
in its program and in its decisions, and write nothing. JAX's runtime ties the processes together. If one dies, all end.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nstjax.errors import UserError
from nstjax.system.processes import WAIT_SECONDS, parse_part

T = TypeVar("T")


def join(part: str | None, notice: Callable[[str], object]) -> None:
    """Meet the other processes of a cluster. Comes before JAX starts its devices.

    Args:
        part: "I/N", for the I-th of N processes, the first of which listens at $JAX_COORDINATOR_ADDRESS; None where
            Slurm, Kubernetes or a TPU pod says all that.
        notice: told how long this process waits.

    Raises:
        UserError: there is no address, or the processes do not meet.
    """
    options: dict[str, Any] = {}
    if part is not None:
        index, count = parse_part(part)
        address = os.environ.get("JAX_COORDINATOR_ADDRESS")
        if not address:
            raise UserError(
                "processes that share a picture meet at JAX_COORDINATOR_ADDRESS: set it to HOST:PORT, the machine of "
                "part 1 and a free port there, in every process"
            )
        options = {"coordinator_address": address, "num_processes": count, "process_id": index}
    notice(f"waiting for the other processes in this cluster, for {WAIT_SECONDS // 60} minutes at most")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, which stops a run
    try:
        jax.distributed.initialize(**options, initialization_timeout=WAIT_SECONDS)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip() or "no reason was given").splitlines()[-1].rstrip(".")
        raise UserError(
            f"the processes did not find each other ({reason}): start all at about the same time; outside Slurm, "
            "Kubernetes and TPU pods give each its --part I/N"
        ) from None


def leads() -> bool:
    """Return whether this process leads: it decides and writes."""
    return jax.process_index() == 0


def agree(value: T) -> T:
    """Return the leader's value in every process: a number, or a tree of arrays of the same shapes in all."""
    if jax.process_count() == 1:
        return value
    leaves, structure = jax.tree.flatten(value)
    plain = [np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for leaf in leaves]
    agreed = multihost_utils.broadcast_one_to_all(plain)
    values = [jax.random.wrap_key_data(new) if _is_key(old) else new for old, new in zip(leaves, agreed, strict=True)]
    return jax.tree.unflatten(structure, values)


def find_least(value: float) -> float:
    """Return the least of the values of all processes."""
    return value if jax.process_count() == 1 else float(np.min(multihost_utils.process_allgather(np.float32(value))))


def make_sharding() -> NamedSharding:
    """Return the sharding of arrays of which every device of the cluster has a copy, on the axis ``devices``."""
    return NamedSharding(make_mesh(jax.device_count()), PartitionSpec())


def make_mesh(count: int) -> Mesh:
    """Return the mesh of the cluster's first devices, whose axis is called ``devices``."""
    return Mesh(np.array(jax.devices()[:count]), ("devices",), axis_types=(AxisType.Auto,))


def replicate(tree: T) -> T:
    """Return a tree of arrays, equal in all processes, with a copy on every device of the cluster."""
    sharding = make_sharding()

    def put(leaf: Any) -> jax.Array:
        if _is_key(leaf):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)))
        if jax.process_count() == 1:
            return jax.device_put(leaf, sharding)
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(put, tree)


def localise(tree: T) -> T:
    """Return a tree of arrays of which every device has a copy as those of this process's first device."""
    return tree if jax.process_count() == 1 else jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
