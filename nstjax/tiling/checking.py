"""A check of terms and networks: whether they can be computed tile by tile."""

from collections.abc import Iterable
from typing import Any

from nstjax.errors import UserError
from nstjax.statistics import is_sum_over_positions
from nstjax.system.functions import describe_function
from nstjax.types import LocalNetwork, PictureTerm, Term


def check_tiling(terms: Iterable[Term | PictureTerm], network: Any) -> LocalNetwork:
    """Return the network; raise unless the terms can be evaluated by tiles.

    Raises:
        UserError: names the first term that cannot, and what can.
    """
    advice = "use --tile none, a smaller picture, or a statistic that is a sum over positions, such as gram or moments"
    for term in terms:
        if isinstance(term, PictureTerm):
            continue
        if callable(term.target):
            raise UserError(
                f"the term {term.name!r} cannot be computed by tiles, as a function makes its target: {advice}"
            )
        if term.target == "style" and not is_sum_over_positions(term.statistic):
            statistic = getattr(term.statistic, "statistic", term.statistic)
            raise UserError(
                f"the term {term.name!r} cannot be computed by tiles, as its statistic {describe_function(statistic)} "
                f"needs all positions at once: {advice}"
            )
        if term.shaping is not None:
            raise UserError(
                f"the term {term.name!r} cannot be computed by tiles with normalise-gradients, which needs the "
                "gradient at all positions: use --no-normalise-gradients, or --tile none"
            )
    if not isinstance(network, LocalNetwork):
        raise UserError(
            f"{type(network).__name__} cannot be computed by tiles: give it methods stride(layer) and reach(layers)"
        )
    return network
