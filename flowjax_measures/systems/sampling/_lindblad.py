r"""Lindblad's equation of an open quantum system, whose state is a density matrix ([lindblad1976]).

    ρ̇ = −i[H, ρ] + Σ_k γ_k (L_k ρ L_k† − ½ {L_k† L_k, ρ})

It keeps ρ = ρ† ≥ 0 and tr ρ = 1, and is to unitary motion what underdamped Langevin is to
Hamilton's: a dissipator that leaves many states alone and a commutator that moves these into its
reach decay together ([fang2024]). For H = ½ω σ_x and the one jump σ_z of rate γ the rate is
γ − √(γ² − ω²) where γ > ω and γ where not, largest at γ = ω.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..._custom_types import FloatScalar
from ..._numerics import given
from ..._system import AbstractSystem
from ...measures import Increment
from ...measures._base import concrete


class Lindblad(AbstractSystem):
    """An open quantum system with d levels; the state is a complex matrix (d, d).

    **Arguments:**

    - `hamiltonian`: H, Hermitian, shape (d, d).
    - `jumps`: the operators L_k, an array (k, d, d) or a sequence of k matrices; `()` for none.
    - `rates`: γ_k ≥ 0, shape (k,) or one number for all; `None` is 1.

    **Raises:** `ValueError` naming the argument, where H is not Hermitian, a rate is negative, or
    shapes do not fit.

    !!! example

        `decay = fm.Lindblad(jnp.zeros((2, 2)), [jnp.array([[0.0, 1.0], [0.0, 0.0]])], [0.5])`
        empties the second level at the rate 0.5: `fm.simulate(decay, jnp.diag(jnp.array([0.0,
        1.0])).astype(complex), [0.0, 1.0])`; `decay.gap()` is 0.25, that of the coherences.
    """

    hamiltonian: Complex[Array, "d d"]
    jumps: Complex[Array, "k d d"]
    rates: Float[Array, " k"]

    def __init__(self, hamiltonian, jumps, rates=None):
        self.hamiltonian = _complex("hamiltonian", hamiltonian)
        d, shape = len(self.hamiltonian), self.hamiltonian.shape
        if shape != (d, d):
            raise ValueError(f"`hamiltonian` has shape {shape}; give a square matrix (d, d).")
        blank = jnp.zeros((0, d, d), self.hamiltonian.dtype)
        if not isinstance(jumps, list | tuple | np.ndarray | jax.Array):
            raise ValueError(f"`jumps` is {jumps!r}; give a list of matrices {shape}.")
        each = [_complex("jumps", jump).astype(blank.dtype) for jump in jumps]
        if any(jump.shape != shape for jump in each):
            raise ValueError(f"`jumps` are of shapes {[j.shape for j in each]}; give {shape}.")
        self.jumps = jnp.stack(each) if each else blank
        rates = given("rates", 1.0 if rates is None else rates, self.hamiltonian.real.dtype)
        if rates.shape not in ((), (len(each),)):
            raise ValueError(f"`rates` has shape {rates.shape} for {len(each)} jumps.")
        self.rates = jnp.broadcast_to(rates, (len(each),))
        if concrete(self.rates) and not np.all(np.asarray(self.rates) >= 0):
            raise ValueError("`rates` holds NaN or a negative number; give rates γ ≥ 0.")
        if concrete(self.hamiltonian):
            h = np.asarray(self.hamiltonian)
            if np.abs(h - h.conj().T).max() > 100 * np.finfo(h.dtype).eps * d * np.abs(h).max():
                raise ValueError("`hamiltonian` is not Hermitian; give (H + H.conj().T) / 2.")

    def __call__(self, t, state):
        shape = self.hamiltonian.shape
        if getattr(state, "shape", None) != shape or not jnp.iscomplexobj(state):
            raise ValueError(
                f"Lindblad was given a state {jax.tree.map(jnp.shape, state)}; give a complex "
                f"matrix of shape {shape}, for example rho.astype(complex)."
            )
        dtype = state.dtype
        h, jumps = self.hamiltonian.astype(dtype), self.jumps.astype(dtype)
        weighed = self.rates.astype(dtype)[:, None, None] * jumps
        a = -1j * h - jnp.einsum("kji,kjl->il", weighed.conj(), jumps) / 2
        # Aρ + ρA†, of which the second is the adjoint of the first: Hermitian to the last bit.
        half = lambda r: a @ r + jnp.einsum("kij,jl,kml->im", weighed, r, jumps.conj()) / 2  # noqa: E731
        return Increment(half(state) + half(state.conj().T).conj().T)

    def superoperator(self) -> Complex[Array, "n n"]:
        """The generator as a matrix S with S @ rho.ravel() the rate of rho.ravel(), n = d²."""
        d = len(self.hamiltonian)
        basis = jnp.eye(d * d, dtype=self.hamiltonian.dtype).reshape(-1, d, d)
        return jax.vmap(lambda r: self(0.0, r).drift.ravel(), out_axes=1)(basis)

    def gap(self) -> FloatScalar:
        """The slowest rate of decay: the least −Re λ over the spectrum, one λ = 0 left out.

        0 where states other than one stay, or go round for ever.
        """
        return jnp.sort(-jnp.linalg.eigvals(self.superoperator()).real)[1]

    def stationary(self) -> Complex[Array, "d d"]:
        """The state that stays; NaN where there are several."""
        d = len(self.hamiltonian)
        trace = jnp.eye(d, dtype=self.hamiltonian.dtype).ravel()
        # The trace is kept, so that S + |I/d⟩⟨I| has the solution of trace 1 of Sρ = 0.
        system = self.superoperator() + jnp.outer(trace / d, trace)
        values = jnp.linalg.svd(jax.lax.stop_gradient(system), compute_uv=False)
        unique = values[-1] > 10 * d * d * jnp.finfo(values.dtype).eps * values[0]
        rho = jnp.linalg.solve(system, trace / d).reshape(d, d)
        return jnp.where(unique, (rho + rho.conj().T) / 2, jnp.nan)


def _complex(name: str, matrix: Any) -> Complex[Array, "..."]:
    matrix = given(name, matrix)
    if matrix.ndim != 2:
        raise ValueError(f"`{name}` has an entry of shape {matrix.shape}; give matrices (d, d).")
    if not jnp.iscomplexobj(matrix):
        real = matrix if jnp.issubdtype(matrix.dtype, jnp.inexact) else matrix.astype(float)
        matrix = jax.lax.complex(real, jnp.zeros_like(real))
    if concrete(matrix) and not np.all(np.isfinite(np.asarray(matrix))):
        raise ValueError(f"`{name}` holds NaN or inf; give finite numbers.")
    return matrix
