r"""Sinkhorn attention: weights made doubly stochastic ([sander2022]).

    ẋ = ∫ κ(x, y) V y μ(dy),   κ(x, y) = e^{β⟨Qx, Ky⟩ + f(x) + g(y)},
    ∫ κ(x, y) μ(dy) = 1 for all x,   ∫ κ(x, y) μ(dx) = 1 for all y.

As e^{β⟨Qx, Ky⟩} is e^{−(β/2)‖Qx − Ky‖²} up to factors of x and of y, f and g are Schrödinger
potentials of entropic transport. From N(m, Σ) the coupling is Gaussian: with the singular values
b of Σ^{1/2} βQᵀK Σ^{1/2} = U b Wᵀ its cross-covariance is Σ^{1/2} U c Wᵀ Σ^{1/2}, c = 2b/(1 +
√(1 + 4b²)); in one dimension σ' = v (√(1 + 4k²σ²) − 1)/k with σ the variance and k = βQK.

The Sinkformer stops after a few normalisations of e^{β⟨Qx, Ky⟩}, of rows and of columns in turn:
after the first it is softmax attention.
"""

from typing import ClassVar

import equinox as eqx

from ...measures import Gaussian
from ._scaled import iterated, of_atoms, of_gaussian
from ._watched import AbstractAttention


class SinkhornAttention(AbstractAttention):
    r"""Attention in which everyone is looked at as much as everyone looks.

    **Arguments:** `query`, `key`, `value`, `beta`, `output`, `causal`, `mask`, `bias`,
    `exclude_self` and `rotary` are those of `SelfAttention`. Besides,

    - `beta`: inverse temperature β ≠ 0, negative values too.
    - `iterations`: the number of normalisations, rows first; 1 is softmax, odd numbers end with
      rows. `None` goes on to the limit: potentials solved to round-off, O(n²) memory, with the
      derivative of the fixed point. Masks and biases need a number.

    From a `Gaussian` both are exact.

    **Raises:** `ValueError` for a mask, bias or causal order without `iterations`: the limit need
    not exist.

    !!! example

        `fm.simulate(fm.SinkhornAttention(beta=1.0), tokens, [0.0, 0.1], dt=0.1)`
    """

    iterations: int | None = eqx.field(static=True, default=None)

    by_rows: ClassVar[bool] = False

    def __check_init__(self):
        if self.iterations is None:
            if self.related():
                raise ValueError(
                    "`iterations` is None, the limit, which need not exist between pairs of which "
                    "some may not look: give the number of normalisations, for example 5."
                )
        elif not (isinstance(self.iterations, int) and self.iterations >= 1):
            raise ValueError(
                f"`iterations` is {self.iterations!r}; give a positive number of normalisations, "
                "or None for their limit."
            )

    def read(self, mu, look):
        if self.iterations is not None:
            return iterated(mu, look, self.iterations)
        return of_gaussian(mu, look) if isinstance(mu, Gaussian) else of_atoms(mu, look)
