r"""A scheme for small noise ([milstein1997]): the drift by Heun's rule, the noise by Euler's.

    X₁ = X₀ + (h/2)(b(X₀) + b(X₀ + h b(X₀) + σ(X₀)dW)) + σ(X₀)dW

With noise of size √η its weak error is O(h² + ηh), where Euler–Maruyama's is O(h). Itô.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ._base import AbstractScheme


class SmallNoiseHeun(AbstractScheme):
    """Heun's rule for the drift, Euler's for Itô noise: for limits of SGD, whose noise is small.

    !!! example

        ```python
        fm.simulate(
            fm.Langevin(f, beta=100.0),
            mu,
            [0.0, 1.0],
            dt=0.1,
            key=key,
            solver=fm.SmallNoiseHeun(),
        )
        ```
    """

    term_structure: ClassVar = diffrax.MultiTerm[
        tuple[diffrax.ODETerm, diffrax.AbstractTerm]  # pyright: ignore[reportInvalidTypeArguments]
    ]
    orders: ClassVar = (2, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h = t1 - t0
        drift, noise = terms.terms
        kick = noise.vf_prod(t0, y0, args, noise.contr(t0, t1))
        first = drift.vf(t0, y0, args)

        def move(a, w, *slopes):
            return a + sum(jnp.asarray(h / len(slopes), a.dtype) * s for s in slopes) + w

        guess = jax.tree.map(move, y0, kick, first)
        y1 = jax.tree.map(move, y0, kick, first, drift.vf(t1, guess, args))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
