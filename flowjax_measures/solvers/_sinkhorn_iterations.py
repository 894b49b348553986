r"""Sinkhorn's iterations as the steps of a flow ([deb2023], [berman2020]).

    χ(y) = ε log ∫ e^{−(|x−y|²/2 + ψ_k(x))/ε − f(x)} dx,
    ψ_{k+1}(x) = ε log ∫ e^{−(|x−y|²/2 + χ(y))/ε − g(y)} dy

is a step of length ε of the parabolic Monge–Ampère equation, of order 1, without derivatives, and
stable for every ε. Between Gaussians, f = ½⟨x, Fx⟩ + ⟨b, x⟩ and e^{−g} = N(n, G⁻¹), potentials stay
quadratic: with ∇u = ∇(½|x|² + ψ) the map x ↦ Ux + v from the law of the step to e^{−g},

    W = (U + εF)⁻¹,   ω = −W(v + εb),   U′ = (W + εG)⁻¹,   v′ = −U′(ω − εGn).
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from .._custom_types import Positive
from .._numerics import degree
from .._system import Averaged
from ..energies import KL
from ..energies._bures import bures_map
from ..measures import Gaussian
from ..measures._base import replace
from ..metrics import WassersteinMirror
from ..systems.flows import ParabolicMongeAmpere
from ..systems.flows._parabolic_monge_ampere import _over
from ._base import AbstractScheme, posed


class SinkhornIterations(AbstractScheme):
    """One iteration a step, of a `ParabolicMongeAmpere`; cells should be shorter than √ε.

    Or, in closed form, of the flow of `KL(f)` in the metric `WassersteinMirror(reference)` from a
    non-singular `Gaussian`, with f at most quadratic and the reference for e^{−g}.

    **Arguments:** `tau`: ε, the `dt` of the run.

    !!! example

        `simulate(ParabolicMongeAmpere(f, g), psi, ts, solver=SinkhornIterations(0.01))`
    """

    tau: Positive

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        flow, _ = posed(terms, y0)
        flow = flow.system if isinstance(flow, Averaged) else flow
        if isinstance(y0, Gaussian):
            y1 = _between_gaussians(flow, y0, t1 - t0)
            return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
        if not isinstance(flow, ParabolicMongeAmpere):
            raise ValueError("SinkhornIterations steps a ParabolicMongeAmpere with `dt`.")
        epsilon, n = jnp.asarray(t1 - t0, y0.dtype), y0.shape[0]
        x = flow.centres(y0)
        h = flow.length / n
        axis = (jnp.arange(n, dtype=y0.dtype) + 0.5) * h
        turns = flow.length * jnp.arange(-3, 4).astype(y0.dtype)
        gap = axis[:, None, None] - axis[None, :, None] + turns
        scale = jnp.log(h / jnp.sqrt(2 * jnp.pi * epsilon))
        kernel = logsumexp(-(gap**2) / (2 * epsilon), axis=2) + scale

        def smooth(log_mass):
            # The kernel is a product over axes: one sum after the other.
            for a in range(y0.ndim):
                moved = jnp.moveaxis(log_mass, a, -1)
                log_mass = jnp.moveaxis(logsumexp(moved[..., None, :] + kernel, axis=-1), -1, a)
            return log_mass

        over = lambda function: _over(function, x, y0.ndim)  # noqa: E731
        chi = smooth(-y0 / epsilon - over(flow.source))
        y1 = epsilon * smooth(-chi - over(flow.target))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _between_gaussians(flow: Any, mu: Gaussian, dt: Any) -> Gaussian:
    """The law whose map to the reference has the potential of the next iterate."""
    energy, metric = getattr(flow, "energy", None), getattr(flow, "metric", None)
    if not isinstance(energy, KL) or not isinstance(metric, WassersteinMirror):
        raise ValueError(
            "SinkhornIterations steps a Gaussian in GradientFlow(KL(f), WassersteinMirror(nu))."
        )
    nu, f, zero = metric.reference, energy.potential, jnp.zeros_like(mu.m)
    if degree(f, mu.m) > 2:
        raise ValueError("`potential` of KL is not quadratic: the iterates are no Gaussians.")
    epsilon, inverse = jnp.asarray(dt, mu.m.dtype), jnp.linalg.inv
    slope, precision = bures_map(mu, nu), inverse(nu.cov)
    shift = nu.m - slope @ mu.m
    narrow = inverse(slope + epsilon * jax.hessian(f)(zero))
    pull = -narrow @ (shift + epsilon * jax.grad(f)(zero))
    slope = inverse(narrow + epsilon * precision)
    shift = -slope @ (pull - epsilon * precision @ nu.m)
    back = inverse(slope)
    cov = back @ nu.cov @ back
    return replace(mu, m=back @ (nu.m - shift), cov=(cov + cov.T) / 2)
