"""The objective: ``L(x) = sum_t w_t distance_t(statistic_t(F(x)), target_t)``, a tuple of terms.

Its structure is static: two objectives of equal terms compare equal and share one compiled program. Targets and
weights are traced: to change them compiles nothing, to sweep them is ``jax.vmap``.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from nstjax.errors import UserError
from nstjax.losses import takes_key
from nstjax.types import AnyTerm, Features, Key, Picture, Scalar, Targets, Term


class Network(Protocol):
    """Anything with VGG19's ``features``."""

    def features(self, picture: Picture, layers: tuple[str, ...]) -> Features:
        """{name: [h, w, c]} of the layers asked for."""
        ...


@dataclass(frozen=True)
class Objective:
    """A sum of terms.

    Args:
        terms: each with a name of its own.

    Raises:
        UserError: no terms, or two of one name.
    """

    terms: tuple[AnyTerm, ...]

    def __post_init__(self):
        object.__setattr__(self, "terms", tuple(self.terms))
        names = self.names
        if not names:
            raise UserError("an objective needs at least one term")
        if len(set(names)) < len(names):
            raise UserError(f"each term needs a name of its own: got {', '.join(names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, in their order."""
        return tuple(term.name for term in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that a term looks at, once, in order of first use."""
        return tuple(dict.fromkeys(layer for term in self.terms if isinstance(term, Term) for layer in term.layers))

    def targets(self, network: Network, *, content: Picture, style: Picture) -> Targets:
        """{term: its statistic of its target picture}; terms on the picture itself have none.

        Args:
            network: whose features the terms see.
            content: [H, W, 3].
            style: [H', W', 3], of any size.
        """
        pictures = {"content": content, "style": style}
        targets: Targets = {}
        for source, picture in pictures.items():
            terms = [term for term in self.terms if isinstance(term, Term) and term.target == source]
            layers = tuple(dict.fromkeys(layer for term in terms for layer in term.layers))
            features = network.features(picture, layers) if layers else {}
            for term in terms:
                with _noted(term):
                    targets[term.name] = term.statistic({layer: features[layer] for layer in term.layers})
        return targets

    def __call__(
        self,
        picture: Picture,
        *,
        network: Network | None,
        targets: Targets,
        weights: Mapping[str, float | Scalar],
        key: Key | None = None,
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """The loss of a picture.

        Args:
            picture: [H, W, 3].
            network: whose features the terms see; None will do where they see none.
            targets: from ``targets``.
            weights: {term: w_t}.
            key: for terms whose distance draws random numbers; each gets one of its own.

        Returns:
            (total, {term: its value, before its weight}).
        """
        features = network.features(picture, self.layers) if network is not None and self.layers else {}
        parts: dict[str, Scalar] = {}
        for index, term in enumerate(self.terms):
            with _noted(term):
                if isinstance(term, Term):
                    value = self._value(term, index, features, targets, key)
                else:
                    value = term.loss(picture)
            if jnp.shape(value) != ():
                raise UserError(f"the term {term.name!r} must be a scalar, not of shape {[*jnp.shape(value)]}")
            parts[term.name] = value
        total = sum((weights[name] * value for name, value in parts.items()), jnp.float32(0))
        return total, parts

    @staticmethod
    def _value(term: Term, index: int, features: Features, targets: Targets, key: Key | None) -> Scalar:
        x = term.statistic({layer: features[layer] for layer in term.layers})
        if not takes_key(term.distance):
            return term.distance(x, targets[term.name])
        if key is None:
            raise ValueError(f"the distance of term {term.name!r} draws random numbers: pass key=")
        return term.distance(x, targets[term.name], key=jax.random.fold_in(key, index))


@contextlib.contextmanager
def _noted(term: AnyTerm) -> Iterator[None]:
    """An error says in which term it arose."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the term {term.name!r}")
        raise
