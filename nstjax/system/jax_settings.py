"""JAX's settings during a run, which decide its bits, and the errors that JAX raises for the machine."""

import contextlib
from collections.abc import Iterator

import jax

from nstjax.errors import Failure, UserError


@contextlib.contextmanager
def protect_run(remedy: str) -> Iterator[None]:
    """Compute with fixed settings of JAX, and say in one line what to do if the memory is too small.

    Args:
        remedy: what to do, in the words of the line.

    Raises:
        Failure: the memory is too small.
    """
    with fix_settings(), explain_out_of_memory(remedy):
        yield


@contextlib.contextmanager
def fix_settings() -> Iterator[None]:
    """Compute with JAX's default number types, random numbers and checks, whatever the process has set.

    A run's record does not contain these settings, and a resume in another process must give the same bytes. The checks
    for NaN are off, because a chunk of steps looks for losses that are not finite itself, and marks the steps that it
    did not make with NaN.
    """
    with contextlib.ExitStack() as stack:
        for setting in (
            jax.enable_x64(False),
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            jax.default_prng_impl("threefry2x32"),
            jax.threefry_partitionable(True),
            jax.debug_nans(False),
            jax.debug_infs(False),
            jax.debug_key_reuse(False),
            jax.disable_jit(False),
            jax.transfer_guard("allow"),
        ):
            stack.enter_context(setting)
        yield


def start_devices() -> None:
    """Start the devices that JAX computes on.

    Raises:
        UserError: JAX cannot start the platform that JAX_PLATFORMS names, or any.
    """
    try:
        jax.local_devices()
    except Exception as error:  # RuntimeError, or AssertionError without JAX's package for that platform
        reason = (str(error).strip() or "not installed").split("\n")[0]
        if platforms := jax.config.values["jax_platforms"]:
            reason = f"the platform {platforms}, which JAX_PLATFORMS names ({reason}): name another, or unset it"
        raise UserError(f"JAX cannot start {reason}" if platforms else f"JAX finds no device: {reason}") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error says that a device or the machine has too little memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )


@contextlib.contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
    """Turn an error about too little memory into one line.

    Args:
        remedy: what to do, in the words of the line.

    Raises:
        Failure: replaces the error.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise Failure(f"out of memory: {remedy}") from error
