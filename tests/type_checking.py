"""The type checker that the import hook of ``conftest`` applies to the numeric rooms."""

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # accept an int as a float, as PEP 484 does


def check(function):
    """Check the arguments and the result of each call of a function.

    Constructors are left out, because JAX also builds pytrees whose leaves are not arrays.
    """
    return function if function.__name__ == "__init__" else _check(function)
