r"""Minimising movements in kinetic transport ([huang2000], [duong2014]).

    μ_{k+1} = argmin_μ  C_τ(μ_k, μ)/(2γ) + F(μ),   C_τ = min ∫_0^τ ‖γ̈ + ∇V(γ_0)‖² dt

over plans of curves γ: a step of `KineticFlow`, of order 1. The kinetic cost is a squared distance
after linear maps, C_τ = ‖z_+(q, p) − z_−(q′, p′)‖² with

    z_+ = (√(12/τ³)(q + τp/2), (p − τ∇V(q))/√τ),   z_− = (√(12/τ³)(q′ − τp′/2), p′/√τ),

so that a step is one of `JKO`, of length γ, for the energy F in the coordinates z_−. For Langevin's
free energy from a Gaussian it is in closed form, also from singular ones.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import Positive
from .._numerics import expect, square_root
from .._system import Averaged
from ..measures import Gaussian, Particles, Rates
from ..measures._base import replace
from ..spaces import Phase
from ..systems.flows import KineticFlow
from ..systems.flows._kinetic_flow import vectors
from ..systems.sampling import UnderdampedLangevin
from ._base import AbstractScheme, posed
from ._proximal import proximal


class KineticJKO(AbstractScheme):
    """Steps `KineticFlow` from particles or a Gaussian, `UnderdampedLangevin` from a Gaussian.

    A step whose equation is not solved is NaN: such a run fails. Where V is not quadratic, a
    Gaussian feels the mean of its force and of its derivative.

    **Arguments:** `tau`: the step τ, the `dt` of the run. `max_steps`: bound on Newton's steps.

    !!! example

        ```python
        law = fm.UnderdampedLangevin(lambda q: jnp.sum(q**2) / 2, friction=0.5)
        mu = fm.Gaussian(jnp.array([1.0, 0.0]), jnp.eye(2))
        fm.simulate(law, mu, [0.0, 1.0], solver=fm.KineticJKO(0.05))
        ```
    """

    tau: Positive
    max_steps: int = 50

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        law, temperature = _kinetic(system, mu)
        h = jnp.asarray(t1 - t0, jax.tree.leaves(y0)[0].dtype)
        nu: Any = vectors(mu)
        d = (nu.m.size if isinstance(nu, Gaussian) else nu.x.shape[1]) // 2
        far, near = jnp.sqrt(12 / h**3), 1 / jnp.sqrt(h)

        def forth(x):
            q, p = x[:d], x[d:]
            force = -jax.grad(law.potential)(q)
            return jnp.concatenate([far * (q + h / 2 * p), near * (p + h * force)])

        def back(z):
            p = z[d:] / near
            return jnp.concatenate([z[:d] / far + h / 2 * p, p])

        start = _push(nu, forth)

        def descent(end):
            here = _push(_weighed(end, start), back)

            def velocity(z):
                x, pull = jax.vjp(back, z)
                return Rates(-pull(law.slope(x, here))[0])

            drift = _weighed(end, start).lift(velocity).drift
            return replace(end, **{name: getattr(drift, name) for name in _moves(end)})

        friction = jnp.asarray(law.friction, h.dtype)
        if temperature is not None:
            end = _gaussian(start, friction * h, friction * temperature)
        else:
            bare = replace(start, log_w=None) if isinstance(start, Particles) else start
            end = proximal(bare, bare, descent, friction, self.max_steps)
        y1 = _push(end, back)
        if isinstance(mu, Particles) and isinstance(mu.x, Phase):
            y1 = replace(y1, x=Phase(y1.x[:, :d], y1.x[:, d:]))
        y1 = replace(y0, **{name: getattr(y1, name) for name in _moves(y1)})
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _moves(mu: Any) -> tuple[str, ...]:
    return ("m", "cov") if isinstance(mu, Gaussian) else ("x",)


def _weighed(end: Any, start: Any) -> Any:
    """The measure that is solved for, with the masses that stay."""
    return replace(end, log_w=start.log_w) if isinstance(end, Particles) else end


def _gaussian(start: Gaussian, damping: Any, spread: Any) -> Gaussian:
    """The step of length γ for ½ h |z_p|² + entropy/β, `damping` = γh and `spread` = c = γ/β.

    T Σ T = S for T = A − c Σ⁻¹, A = 1 + γ diag(0, h): with Z = A^{1/2} Σ A^{1/2} and R = A^{−1/2} S
    A^{−1/2} it is Z − 2c + c² Z⁻¹ = R, and both commute.
    """
    half = jnp.ones(start.m.size // 2, start.m.dtype)
    pull = jnp.concatenate([half, (1 + damping) * half])
    sides = jnp.sqrt(pull)[:, None] * jnp.sqrt(pull)
    ratio = start.cov / sides
    root = square_root(ratio @ ratio + 4 * spread * ratio)
    eye = jnp.eye(start.m.size, dtype=start.m.dtype)
    return replace(start, m=start.m / pull, cov=(spread * eye + (ratio + root) / 2) / sides)


def _kinetic(system: Any, mu: Any) -> tuple[Any, Any]:
    """The flow, and the temperature where its energy is Langevin's from a Gaussian."""
    system = system.system if isinstance(system, Averaged) else system
    if isinstance(system, UnderdampedLangevin) and isinstance(mu, Gaussian):
        friction, temperature, _ = system.langevin
        return KineticFlow(system.potential, None, friction), temperature
    if isinstance(system, KineticFlow) and isinstance(mu, Gaussian | Particles):
        return system, 1.0 if system.energy is None and isinstance(mu, Gaussian) else None
    raise ValueError(
        f"KineticJKO was given {type(system).__name__} from {type(mu).__name__}; it steps "
        "KineticFlow from Particles or a Gaussian, and UnderdampedLangevin from a Gaussian."
    )


def _push(mu: Any, function: Any) -> Any:
    """The image of a measure; of a Gaussian under the nearest affine function."""
    if isinstance(mu, Particles):
        return replace(mu, x=jax.vmap(function)(mu.x))
    slope = expect(jax.jacfwd(function), mu.m, mu.cov)
    cov = slope @ mu.cov @ slope.T
    return replace(mu, m=expect(function, mu.m, mu.cov), cov=(cov + cov.T) / 2)
