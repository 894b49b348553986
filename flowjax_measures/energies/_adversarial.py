r"""Divergences by their critic: what a discriminator sees of a measure ([nowozin2016]).

    F(μ) = max_φ ∫ a(c_φ) dμ − ∫ b(c_φ) dν − (λ/2)|φ|²,   c_φ = ⟨φ, h⟩,   δF/δμ = a(c_φ*)

The max over all c is an f-divergence; over critics of given features it is what samples of ν can
tell. A JKO step of it, min over maps and max over critics, is a step of a Wasserstein proximal GAN.

    "KL"              a = c,  b = e^{c−1}             c* = 1 + log dμ/dν
    "chi-squared"     a = c,  b = c + c²/4            c* = 2(dμ/dν − 1)
    "jensen-shannon"  2a = log 2σ(c),  2b = −log 2σ(−c)   c* = log dμ/dν
    "MMD"             a = b = c                       ½ MMD² with the kernel ⟨h, h⟩/λ
    "W1"              a = b = c, less ½γ ∫ (|∇c| − 1)₊² d(μ + ν)     W₁ as γ → ∞ ([gulrajani2017])
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, NonNegative, Point
from .._numerics import safe_sqrt
from .._numerics._checks import check_positive
from ..kernels._base import mass
from ..measures import AbstractMeasure
from ..measures._base import concrete
from ._base import AbstractTransportEnergy

PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "KL": (lambda c: c, lambda c: jnp.exp(c - 1)),
    "chi-squared": (lambda c: c, lambda c: c + c**2 / 4),
    "jensen-shannon": (
        lambda c: (jax.nn.log_sigmoid(c) + jnp.log(2.0).astype(c.dtype)) / 2,
        lambda c: -(jax.nn.log_sigmoid(-c) + jnp.log(2.0).astype(c.dtype)) / 2,
    ),
    "MMD": (lambda c: c, lambda c: c),
    "W1": (lambda c: c, lambda c: c),
}


def steepness(critic: Callable[[Point], Any], x: Point) -> FloatScalar:
    """½ (|∇c| − 1)₊² at a point."""
    slope = jax.grad(lambda x: jnp.asarray(critic(x)))(x)
    size = safe_sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)))
    return jax.nn.relu(size - 1) ** 2 / 2


class AdversarialDivergence(AbstractTransportEnergy):
    """The divergence of samples that a critic linear in its features finds.

    The critic is the best one, by Newton's method: no training beside that of the generator, and
    true derivatives.

    **Arguments:** `target`: ν. `features`: h, from a point to a vector. `divergence`: one of the
    above. `regularization`: λ ≥ 0, positive for "MMD" and "W1". `iterations`: Newton's steps.
    `penalty`: γ, of the critic's slopes above 1 in "W1".

    A critic that is a network, trained beside the points, is `critic_game`.

    !!! example

        `fm.AdversarialDivergence(nu, lambda x: jnp.concatenate([x, x**2]))(mu)`
    """

    target: AbstractMeasure
    features: Callable[[Point], Float[Array, " k"]]
    divergence: str = eqx.field(static=True, default="KL")
    regularization: NonNegative = 1e-3
    iterations: int = 30
    penalty: NonNegative = 100.0

    def __check_init__(self):
        if self.divergence not in PAIRS:
            raise ValueError(
                f"`divergence` is {self.divergence!r}; it is one of {', '.join(PAIRS)}."
            )
        check_positive("iterations", self.iterations, 1)
        free = concrete(self.regularization) and self.regularization == 0
        if free and self.divergence in ("MMD", "W1"):
            raise ValueError(
                f"`regularization` is 0, with which the critic of {self.divergence} has no best "
                "weights; give a positive one."
            )

    def _gain(self, phi, mu) -> FloatScalar:
        a, b = PAIRS[self.divergence]
        seen = mu.mean(lambda x: a(jnp.vdot(phi, self.features(x))))
        held = self.target.mean(lambda y: b(jnp.vdot(phi, self.features(y))))
        gain = seen - held - self.regularization * jnp.vdot(phi, phi) / 2
        if self.divergence != "W1":
            return gain
        steep = lambda x: self._steepness(phi, x)  # noqa: E731
        return gain - mu.mean(steep) - self.target.mean(steep)

    def _steepness(self, phi, x) -> FloatScalar:
        return self.penalty * steepness(lambda x: jnp.vdot(phi, self.features(x)), x)

    def critic(self, mu: AbstractMeasure) -> Float[Array, " k"]:
        """φ*, the best weights of the features."""
        start = jnp.zeros_like(mu.mean(self.features))
        fixed = jax.lax.stop_gradient(mu)

        def improve(phi, _):
            slope, bend = jax.grad(self._gain)(phi, fixed), jax.hessian(self._gain)(phi, fixed)
            step = jnp.linalg.solve(bend, slope)
            # Steps that don't gain are shortened: exponentials overshoot.
            sizes = 0.25 ** jnp.arange(6).astype(phi.dtype)
            gains = jax.vmap(lambda s: self._gain(phi - s * step, fixed))(sizes)
            best = jnp.argmax(jnp.where(jnp.isfinite(gains), gains, -jnp.inf))
            return phi - sizes[best] * step, None

        phi = jax.lax.stop_gradient(jax.lax.scan(improve, start, length=self.iterations)[0])
        # One more step has the derivative of the solution.
        bend = jax.lax.stop_gradient(jax.hessian(self._gain)(phi, fixed))
        return phi - jnp.linalg.solve(bend, jax.grad(self._gain)(phi, mu))

    def __call__(self, mu):
        return self._gain(jax.lax.stop_gradient(self.critic(mu)), mu)

    def first_variation(self, x, mu):
        phi = self.critic(mu)
        seen = PAIRS[self.divergence][0](jnp.vdot(phi, self.features(x)))
        seen = seen - self._steepness(phi, x) if self.divergence == "W1" else seen
        return seen / mass(mu)
