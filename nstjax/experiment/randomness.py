"""Randomness: whether the seed of a run has any effect."""

from nstjax.experiment.choice import SELF_TAUGHT
from nstjax.experiment.config import Config
from nstjax.experiment.resolve import Resolved
from nstjax.losses import takes_key
from nstjax.types import Term

NO_EFFECT = "the seed has no effect, because nothing here is random: add init_noise or init_deviation, or another init"


def has_random_start(config: Config) -> bool:
    """Return whether the picture to start from depends on the seed."""
    return bool(config.init_noise or config.init_deviation or config.init in ("noise", "style-statistics"))


def is_random(run: Resolved) -> bool:
    """Return whether a run depends on its seed: by its start, its network, or a distance that draws random numbers."""
    terms = (term for term in run.method.objective.terms if isinstance(term, Term))
    is_learnt = run.config.weights == SELF_TAUGHT
    return has_random_start(run.config) or is_learnt or any(takes_key(term.distance) for term in terms)
