r"""The parabolic Monge–Ampère equation, the Sinkhorn flow on a torus ([deb2023]).

    ∂_t u = f − g(∇u) + log det ∇²u,   u = |x|²/2 + ψ

∇u is the optimal map from ρ_t to e^{−g}, and ρ_t ∝ e^{−g(∇u)} det ∇²u the Wasserstein mirror flow
of KL(· | e^{−f}) with the mirror ½W₂²(·, e^{−g}): ∇·(ρ (∇²u)⁻¹ ∇(f + log ρ)). It tends to e^{−f},
∇u to the optimal map between the two. Sinkhorn's k-th potential at ε is u(kε) + O(ε).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point, Positive
from ..._system import AbstractSystem
from ...measures import GridDensity, Increment


class ParabolicMongeAmpere(AbstractSystem):
    r"""The potential of an optimal map that becomes that from e^{−f} to e^{−g}.

    The state is ψ at the centres of the cells of [0, L)^d, d = 1 or 2, an array of d equal axes; 0
    is the identity. Derivatives are spectral. Parabolic: explicit steps are of the order of the
    squared spacing; the solver `SinkhornIterations` takes any.

    **Arguments:** `source`: f. `target`: g. Both of one point, of period L along each axis, up to
    constants. `length`: L.

    !!! example

        `fm.ParabolicMongeAmpere(lambda x: jnp.ones(()), lambda x: jnp.ones(()))`
    """

    source: Callable[[Point], FloatScalar]
    target: Callable[[Point], FloatScalar]
    length: Positive = 1.0

    def __call__(self, t, state):
        x, y, log_det = self._image(state)
        at = lambda h, z: _over(h, z, state.ndim)  # noqa: E731
        return Increment(at(self.source, x) - at(self.target, y) + log_det)

    def density(self, state: Float[Array, "..."]) -> GridDensity:
        """ρ, the law that the map sends to e^{−g}."""
        _, y, log_det = self._image(state)
        log_rho = log_det - _over(self.target, y, state.ndim)
        rho = jnp.exp(log_rho - jnp.max(log_rho))
        cell = (jnp.asarray(self.length, rho.dtype) / state.shape[0]) ** state.ndim
        return GridDensity(rho / (jnp.sum(rho) * cell), 0.0, self.length, periodic=True)

    def centres(self, state: Float[Array, "..."]) -> Float[Array, "*cells d"]:
        """The points x at which the state is given."""
        axis = (jnp.arange(state.shape[0], dtype=state.dtype) + 0.5) * (self.length / len(state))
        return jnp.stack(jnp.meshgrid(*[axis] * state.ndim, indexing="ij"), -1)

    def map(self, state: Float[Array, "..."]) -> Float[Array, "*cells d"]:
        """∇u at the centres."""
        return self._image(state)[1]

    def _image(self, state):
        if len(set(state.shape)) != 1 or state.ndim not in (1, 2):
            raise ValueError(f"The state has shape {state.shape}; give one or two equal axes.")
        n, d = state.shape[0], state.ndim
        modes = jnp.fft.fftn(state)
        wave = 2 * jnp.pi * jnp.fft.fftfreq(n, 1 / n, dtype=state.dtype) / self.length
        waves = [wave.reshape([-1 if a == b else 1 for b in range(d)]) for a in range(d)]
        # Of a real function i·w·modes is the imaginary part, which leaves the highest mode out.
        part = lambda w: jnp.fft.ifftn(w.astype(modes.dtype) * modes)  # noqa: E731
        slope = [-part(w).imag for w in waves]
        bend = [jnp.stack([-part(v * w).real for w in waves], -1) for v in waves]
        x = self.centres(state)
        hessian = jnp.stack(bend, -2) + jnp.eye(d, dtype=x.dtype)
        return x, x + jnp.stack(slope, -1), jnp.log(jnp.linalg.det(hessian))


def _over(function, points, axes):
    for _ in range(axes):
        function = jax.vmap(function)
    return function(points)
