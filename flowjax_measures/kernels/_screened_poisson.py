r"""The kernel of the screened Poisson equation, singular where points meet.

    G − h² ΔG = δ_0,   G(r) = (4πh²)^{−d/2} ∫_0^∞ t^{−d/2} e^{−t − r²/(4h²t)} dt,

e^{−r/h}/2h on the line, K_0(r/h)/2πh² in the plane, e^{−r/h}/4πh²r in space: Matérn's kernel of
ν = 1 − d/2. Of a kernel as singular as this, and of no smoother one, the Stein discrepancy bounds
the relative entropy (Carrillo, Skrzeczkowski and Warnett).
"""

import jax.numpy as jnp
import numpy as np

from .._custom_types import PositiveArray
from .._numerics import safe_sqrt
from ._base import AbstractSmoothedKernel, difference
from ._smoothed import transform


class ScreenedPoisson(AbstractSmoothedKernel):
    r"""Green's function G of I − h²Δ in the dimension of the points.

    In the plane and beyond it is infinite where x = y; there it is taken as 0, with derivative 0:
    atoms do not see themselves. So `Stein(ScreenedPoisson(h))` moves atoms in the field of the
    others, and energies of atoms leave the diagonal out.

    **Arguments:** `bandwidth`: h.

    !!! example

        `fm.GradientFlow(fm.KL(potential), fm.Stein(fm.ScreenedPoisson(1.0)))`
    """

    bandwidth: PositiveArray = 1.0

    def __call__(self, x, y):
        z = difference(x, y)
        h, d = jnp.asarray(self.bandwidth, z.dtype), z.size
        r = safe_sqrt(jnp.sum(z**2)) / h
        apart = (r > 0) | jnp.isnan(r)
        r = jnp.where(apart, r, 1.0) if d > 1 else r
        if d == 1:
            return jnp.exp(-r) / (2 * h)
        if d == 3:
            value = jnp.exp(-r) / (4 * np.pi * h**3 * r)
        else:
            # t = (r/2) e^s makes the exponent −r cosh s: the trapezoidal rule has all digits.
            steps = (64 if d == 2 else 96) // (1 if z.dtype == jnp.float64 else 2)
            reach = jnp.log(1 + 90 / r)
            s = reach * jnp.arange(steps + 1, dtype=z.dtype) / steps
            parts = jnp.exp(-r * jnp.cosh(s))
            parts = parts if d == 2 else parts * jnp.cosh((1 - d / 2) * s)
            whole = (2 * jnp.sum(parts) - parts[0]) * reach / steps
            value = (4 * np.pi * h**2) ** (-d / 2) * (r / 2) ** (1 - d / 2) * whole
        return jnp.where(apart, value, 0.0)

    def smoothed(self, z, cov):
        h, d = jnp.asarray(self.bandwidth, z.dtype), z.size
        # Times t = e^v, of Gaussians of variance 2h²t; below t the law of z alone is seen.
        v = jnp.arange(-40.0, 4.5, 0.125).astype(z.dtype)
        t = jnp.exp(v)
        shares = 0.125 * jnp.exp(v - t) * (4 * np.pi * h**2 * t) ** (-d / 2)
        return jnp.vdot(transform(z, cov, 1 / (4 * h**2 * t))[0], shares)
