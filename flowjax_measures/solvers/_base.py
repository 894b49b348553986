"""What solvers of our own share: steps joined by lines, without an estimate of their error."""

from typing import ClassVar

import diffrax


class AbstractScheme(diffrax.AbstractSolver):
    """A diffrax solver of our own; subclasses give `orders`, `init` and `step`."""

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    orders: ClassVar[tuple[int, float | None]]
    """The order without noise (or the weak one), and the strong order."""

    def order(self, terms):
        return self.orders[0]

    def strong_order(self, terms):
        return self.orders[1]

    def error_order(self, terms):
        return None

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)
