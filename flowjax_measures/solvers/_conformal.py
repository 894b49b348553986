r"""Steps for damped Hamiltonian systems, that know their damping.

    q̇ = ∂_p H,   ṗ = −∂_q H − α(t) p

contracts the symplectic form by e^{−∫α}. A state is any pytree with `Phase(q, p)` nodes; the
solvers take the damping out of the drift, treat it exactly, and keep one evaluation a step.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import FloatScalar
from .._numerics import Damping, undamped
from ..spaces import Phase
from ._base import AbstractScheme, clock


def _is_phase(node: Any) -> bool:
    return isinstance(node, Phase)


def _by_phase(function: Callable, *trees: PyTree) -> PyTree:
    """`function` at every `Phase` node of pytrees of one structure."""
    nodes = jax.tree.leaves(trees[0], is_leaf=_is_phase)
    if not nodes or not all(_is_phase(node) for node in nodes):
        raise ValueError(
            "This solver moves positions and momenta; every moving leaf of the state must be in a "
            "`Phase(q, p)`."
        )
    return jax.tree.map(function, *trees, is_leaf=_is_phase)


def _axpy(scale: Any, x: PyTree, y: PyTree) -> PyTree:
    """scale·x + y leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.asarray(scale, b.dtype) * a + b, x, y)


def _scale(factor: Any, x: PyTree) -> PyTree:
    return jax.tree.map(lambda a: jnp.asarray(factor, a.dtype) * a, x)


def _at(damping: Damping, t: FloatScalar) -> Any:
    return damping(t) if callable(damping) else damping


class _AbstractConformal(AbstractScheme):
    damping: eqx.AbstractVar[Damping]

    def _middle(self, terms, t0, t1):
        """α in the middle of the step, whose exponential is that of ∫α to second order."""
        return _at(self.damping, clock(terms, (t0 + t1) / 2))

    def _conservative(self, terms, t, y, args):
        """The drift without its damping."""
        now = clock(terms, t)
        drift = terms.vf(t, y, args)
        push = lambda f, p: undamped(self.damping, now, f, p)  # noqa: E731
        return _by_phase(lambda d, z: Phase(d.q, jax.tree.map(push, d.p, z.p)), drift, y)


class ConformalSymplecticEuler(_AbstractConformal):
    r"""p₁ = e^{−αh} p₀ − h ∂_q H(q₀, p₁),   q₁ = q₀ + h ∂_p H(q₀, p₁).

    Contracts the symplectic form by exactly e^{−αh}. Order 1. The first line is solved by
    `iterations` evaluations of the drift: 1 is exact where ∂_q H does not depend on p.

    **Arguments:** `damping`: α, the same as the system's, a number or a function of time;
    `iterations`: see above. A step costs `iterations` + 1 evaluations.

    !!! example

        `fm.ConformalSymplecticEuler(damping=1.0)`
    """

    damping: Damping
    iterations: int = 1

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h = t1 - t0
        decay = jnp.exp(-self._middle(terms, t0, t1) * h)
        slow = _by_phase(lambda z: Phase(z.q, _scale(decay, z.p)), y0)

        def improve(guess, _):
            drift = self._conservative(terms, t0, guess, args)
            return _by_phase(lambda z, d: Phase(z.q, _axpy(h, d.p, z.p)), slow, drift), None

        guess, _ = jax.lax.scan(improve, slow, length=self.iterations)
        drift = self._conservative(terms, t0, guess, args)
        y1 = _by_phase(lambda z, d: Phase(_axpy(h, d.q, z.q), z.p), guess, drift)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


class ExponentialEuler(_AbstractConformal):
    r"""q₁ = q₀ + h ∂_p H,   p₁ = e^{−αh} p₀ − ((1 − e^{−αh})/α) ∂_q H, both at (q₀, p₀).

    Stable at any damping, one evaluation a step. Order 1.

    **Arguments:** `damping`: α, the same as the system's, a number or a function of time.

    !!! example

        `fm.ExponentialEuler(damping=1.0)`
    """

    damping: Damping

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h = t1 - t0
        loss = self._middle(terms, t0, t1) * h
        small = jnp.abs(loss) < 1e-5
        gain = h * jnp.where(small, 1 - loss / 2, -jnp.expm1(-loss) / jnp.where(small, 1, loss))
        drift = self._conservative(terms, t0, y0, args)
        y1 = _by_phase(
            lambda z, d: Phase(_axpy(h, d.q, z.q), _axpy(gain, d.p, _scale(jnp.exp(-loss), z.p))),
            y0,
            drift,
        )
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


class ConformalAdamsBashforth2(_AbstractConformal):
    r"""The two-step method of Adams and Bashforth, with one evaluation a step and exact damping.

    q₁ = q₀ + h (3/2 f₀ − 1/2 f₋₁), p₁ = e^{−αh}(p₀ + h (3/2 g₀ − 1/2 e^{−αh} g₋₁)), f = ∂_p H and
    g = −∂_q H; the first step is Euler's. Order 2 at constant steps.

    **Arguments:** `damping`: α, the same as the system's, a number or a function of time.

    !!! example

        `fm.ConformalAdamsBashforth2(damping=1.0)`
    """

    damping: Damping

    orders: ClassVar = (2, None)

    def init(self, terms, t0, t1, y0, args):
        nothing = _by_phase(lambda z: _scale(0.0, z), y0)
        return nothing, jnp.asarray(True)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        before, first = solver_state
        h = t1 - t0
        decay = jnp.exp(-self._middle(terms, t0, t1) * h)
        drift = self._conservative(terms, t0, y0, args)
        now, past = jnp.where(first, 1.0, 1.5), jnp.where(first, 0.0, -0.5)

        def advance(z, d, b):
            q = _axpy(h * now, d.q, _axpy(h * past, b.q, z.q))
            # `before` is carried to this step by the damping since then.
            p = _scale(decay, _axpy(h * now, d.p, _axpy(h * past, b.p, z.p)))
            return Phase(q, p)

        y1 = _by_phase(advance, y0, drift, before)
        carried = _by_phase(lambda d: Phase(d.q, _scale(decay, d.p)), drift)
        return (
            y1,
            None,
            dict(y0=y0, y1=y1),
            (carried, jnp.asarray(False)),
            (diffrax.RESULTS.successful),
        )
