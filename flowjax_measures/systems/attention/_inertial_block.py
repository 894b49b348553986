r"""A block of an accelerated transformer: attention and a perceptron push momenta (Stein, Li and
Steidl; Zimin, Polyanskiy and Rigollet).

    p₁ = e^{−αh} p + h F(Nq),    q₁ = q + h G(Nq) p      an accelerated step of attention,
    p₂ = e^{−αh} p₁ + h MLP(Nq₁),   q₂ = q₁ + h p₂       one of the perceptron,

with G and F of the flow on the density manifold where attention is a `SympFormer`, G = 1/Z, and
with F the attention itself, G p = p₁, Nesterov's step in the space of tokens, where it is another.
Each step looks at the tokens once.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar, Positive
from ..._numerics import Checked
from ..._system import AbstractMeanField, motion
from ...measures import Particles, Rates
from ...spaces import Phase
from ._matrices import at
from ._sympformer import SympFormer


class LogLinear(Checked):
    r"""α(t) = e^{a + b log(1 + t)}, a damping that is linear between logarithms, as learnt.

    **Arguments:** `level`: a; `slope`: b, which is −1 for a damping like Nesterov's.

    !!! example

        `fm.SympFormer(damping=fm.LogLinear(0.0, -1.0))`
    """

    level: FloatScalar = 0.0
    slope: FloatScalar = -1.0

    def __call__(self, t: FloatScalar) -> Array:
        return jnp.exp(self.level + self.slope * jnp.log1p(t))


class InertialBlock(AbstractMeanField):
    r"""Tokens with momenta, `Phase(q, p)`, through an accelerated block.

    **Arguments:**

    - `attention`: a `SympFormer`, whose own damping is not used, or attention of tokens.
    - `feed_forward`: a system of one token, for example `FeedForward`.
    - `damping`: α, a number or a function of time, such as `LogLinear()`.
    - `step`: h; times are numbers of layers times h. `size`: a factor of both steps, a number or a
      function of time, such as a `PiecewiseConstant` that is learnt.
    - `norm`: N, a function of (t, q) such as `LayerNorm()`; `None` is none.

    Run it by `layers(block, T, time=T * step)` or by Euler's steps dt = `step`.

    !!! example

        ```python
        at_rest = fm.Particles(fm.Phase(tokens.x, jnp.zeros_like(tokens.x)))
        block = fm.InertialBlock(fm.SympFormer(), fm.FeedForward(), fm.LogLinear(), step=1 / 8)
        fm.layers(block, 8)(at_rest)
        ```
    """

    attention: AbstractMeanField
    feed_forward: AbstractMeanField
    damping: FloatScalar | Callable[[FloatScalar], Any] = 1.0
    norm: Callable[[Any, Any], Any] | None = None
    step: Positive = 1.0
    size: FloatScalar | Callable[[FloatScalar], Any] = 1.0

    def rates(self, t, x, mu):
        if not (isinstance(mu, Particles) and isinstance(x, Phase)):
            raise ValueError(
                "InertialBlock moves `Particles` of points `Phase(q, p)`, tokens with momenta; "
                "start them at rest, `Particles(Phase(x, jnp.zeros_like(x)))`."
            )
        h = jnp.asarray(self.step, x.q.dtype)
        far = h * jnp.asarray(at(self.size, t), x.q.dtype)
        keep = jnp.exp(-h * jnp.asarray(at(self.damping, t), x.q.dtype))
        given = self.norm
        norm = (lambda q: q) if given is None else (lambda q: given(t, q))
        if isinstance(self.attention, SympFormer):
            free = eqx.tree_at(lambda a: a.damping, self.attention, 0.0)
            normed = lambda z: Phase(norm(z.q), z.p)  # noqa: E731
            way, force = free.rates(t, normed(x), mu.push(normed)).velocity
            q, p = x.q + far * way, keep * x.p + far * force
        else:
            seen = mu.push(lambda z: norm(z.q))
            p = keep * x.p + far * motion(self.attention, t, norm(x.q), seen)
            q = x.q + far * p
        p = keep * p + far * motion(self.feed_forward, t, norm(q), mu)
        return Rates(Phase((q + far * p - x.q) / h, (p - x.p) / h))
