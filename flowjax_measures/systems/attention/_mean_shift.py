r"""Attention to differences: a token moves by what it reads, less itself ([comaniciu2002]).

    ẋ = V ∫ e^{β⟨Qx, Ky⟩} (y − x) μ(dy) / ∫ e^{β⟨Qx, Ky⟩} μ(dy)

On the sphere and with V = λI this is the flow of `SelfAttention`, since x has no tangential part,
but not its round-off: what a token reads of itself is 0 and not a vector of length one whose
tangential part is 1e-16. So it follows clusters whose attraction is e^{−40}, and velocities inside
a cluster keep their digits however small it is.
"""

from typing import ClassVar

from ._watched import AbstractAttention


class MeanShift(AbstractAttention):
    r"""Self-attention less the token itself; on the sphere the same flow to all digits.

    **Arguments:** `query`, `key`, `value`, `beta`, `output`, `causal`, `mask`, `bias`,
    `exclude_self` and `rotary` are those of `SelfAttention`.

    !!! example

        `fm.simulate(fm.MeanShift(), mu, [0.0, 1.0])`
    """

    relative: ClassVar[bool] = True

    def read(self, mu, look):
        return mu.mean(look.value, look.logits())
