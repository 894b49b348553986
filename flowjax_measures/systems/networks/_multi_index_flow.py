r"""Gradient flow on Gaussian multi-index models, in its order parameters ([bietti2023]).

Inputs z ~ N(0, I_d), targets F(W*ᵀz), a learner f(Wᵀz), both frames of r orthonormal directions.
The risk ½ E|f − F|² sees the frames through M = WᵀW* alone: with Hermite tensors C_k = E ∇^k F and
A_k = E ∇^k f,

    risk = Σ_k ½ (‖A_k‖² − 2 ⟨A_k, M·C_k⟩ + ‖C_k‖²) / k!,   (M·C)_{i…} = Σ M_{ij} … C_{j…},

and its gradient flow, W on orthonormal frames and f in L² at 1/ε times the speed, closes:

    Ṁ = G − ½ (M Gᵀ + G Mᵀ) M,   G = ∂_M Σ_k ⟨A_k, M·C_k⟩ / k!,   ε Ȧ_k = M·C_k − A_k.

On two time scales, ε → 0, A_k = M·C_k. For r = 1 and normalised coefficients c_k this is
ṁ = (1 − m²) Σ_k k c_k² m^{2k−1}: from m near 0 a plateau, longer with the lowest k, and with r > 1
a saddle for each direction.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive
from ..._system import AbstractMeanField
from ...measures import Rates


class MultiIndexFlow(AbstractMeanField):
    r"""Independent runs of the population flow: points are M, or pairs (M, (A_1, A_2, …)).

    **Arguments:**

    - `link`: the tensors (C_1, C_2, …) of F, C_k symmetric of shape (r,) * k. F has no mean.
    - `time_scale`: ε for points (M, A); None for ε → 0, with points M of shape (r, r).

    !!! example

        `fm.MultiIndexFlow([jnp.array([0.0, 1.0])])`
    """

    link: tuple[Float[Array, "..."], ...]
    time_scale: Positive | None = None

    def __check_init__(self):
        for k, tensor in enumerate(self.link, 1):
            if jnp.ndim(tensor) != k or len({*jnp.shape(tensor), len(self.link[0])}) != 1:
                raise ValueError(
                    f"`link` holds a tensor of shape {jnp.shape(tensor)} at position {k}; the "
                    f"{k}-th has {k} axes, each of the length r of the first."
                )

    def transported(self, overlap: Float[Array, "r r"]) -> tuple[Array, ...]:
        """M·C_k, the best link of a learner whose frame has overlap M."""
        moved = []
        for tensor in self.link:
            for _ in range(tensor.ndim):
                # Contracts the first axis and appends the new one: after k turns all are moved.
                tensor = jnp.tensordot(tensor, overlap, axes=((0,), (1,)))
            moved.append(tensor)
        return tuple(moved)

    def risk(self, x) -> FloatScalar:
        """½ E|f − F|² of one run."""
        overlap, link = x if self.time_scale is not None else (x, self.transported(x))
        best = self.transported(overlap)
        return sum(
            (jnp.vdot(a, a) - 2 * jnp.vdot(a, b) + jnp.vdot(c, c)) / (2 * math.factorial(a.ndim))
            for a, b, c in zip(link, best, self.link, strict=True)
        )

    def rates(self, t, x, mu):
        overlap, link = x if self.time_scale is not None else (x, self.transported(x))

        def agreement(m):
            pairs = zip(link, self.transported(m), strict=True)
            return sum(jnp.vdot(a, b) / math.factorial(a.ndim) for a, b in pairs)

        slope = jax.grad(agreement)(overlap)
        product = overlap @ slope.T
        velocity = slope - (product + product.T) @ overlap / 2
        if self.time_scale is None:
            return Rates(velocity)
        best = self.transported(overlap)
        return Rates((velocity, jax.tree.map(lambda b, a: (b - a) / self.time_scale, best, link)))
