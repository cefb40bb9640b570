"""Targets that a function of the term makes, of which some wait for the picture with which a size begins."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax

from nstjax.losses.contract import error_context, takes_start
from nstjax.losses.results import check_statistic
from nstjax.types import Picture, Targets, Term


@functools.partial(jax.tree_util.register_dataclass, data_fields=["content", "style"], meta_fields=[])
@dataclass(frozen=True)
class PicturePair:
    """The pictures that a target is made of; the target itself while the start of the size is not known.

    Args:
        content: [H, W, 3].
        style: [H', W', 3].
    """

    content: Picture
    style: Picture


def make_target(term: Term, network: Any, pictures: PicturePair, *, start: Picture | None = None) -> Any:
    """Return what the function of a term makes of the pictures; the pictures if it also needs the start.

    Raises:
        UserError: the function does not return arrays.
    """
    assert callable(term.target)
    options = {"start": start} if takes_start(term.target) else {}
    if options and start is None:
        return pictures
    with error_context(term):
        return check_statistic(term.target(network, pictures.content, pictures.style, **options), term.target)


def complete_targets(terms: Iterable[Term], targets: Targets, network: Any, start: Picture | None) -> Targets:
    """Return the targets with those that waited for the start of the size.

    Args:
        terms: the terms whose targets are made by functions.
        targets: the targets of all terms.
        network: the network whose features the terms see.
        start: [H, W, 3].
    """

    def complete(target: Any, term: Term) -> Any:
        return make_target(term, network, target, start=start) if _is_pair(target) else target

    completed = {
        term.name: jax.tree.map(functools.partial(complete, term=term), targets[term.name], is_leaf=_is_pair)
        for term in terms
    }
    return targets | completed


def _is_pair(target: Any) -> bool:
    return isinstance(target, PicturePair)
