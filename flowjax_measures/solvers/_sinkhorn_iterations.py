r"""Sinkhorn's iterations as the steps of a flow ([deb2023], [berman2020]).

    χ(y) = ε log ∫ e^{−(|x−y|²/2 + ψ_k(x))/ε − f(x)} dx,
    ψ_{k+1}(x) = ε log ∫ e^{−(|x−y|²/2 + χ(y))/ε − g(y)} dy

is a step of length ε of the parabolic Monge–Ampère equation, of order 1, without derivatives, and
stable for every ε.
"""

from typing import ClassVar

import diffrax
import jax.numpy as jnp
from jax.nn import logsumexp

from .._custom_types import Positive
from ..systems.flows import ParabolicMongeAmpere
from ..systems.flows._parabolic_monge_ampere import _over
from ._base import AbstractScheme, posed


class SinkhornIterations(AbstractScheme):
    """One iteration a step, of a `ParabolicMongeAmpere`; cells should be shorter than √ε.

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
