r"""Paths of densities of least action, as a convex problem with its dual ([benamou2000]).

    min Σ_k h Σ_e q_ke² / (2 c_e θ_ke) + Σ_k G_k(ρ_k),   A ρ_{k+1} − B ρ_k + h D q_k = 0,
    0 ≤ ρ ≤ b,   θ_k = W (M(ρ_k) + M(ρ_{k+1}))/2   with a concave mobility M

between densities ρ_k at the times of a grid, with fluxes q_k in between. With potentials φ_k of the
equation of continuity q = −c θ Dᵀφ, and

    s_k = Aᵀφ_{k−1} − Bᵀφ_k − (h/2) M′(ρ_k) Wᵀ c ((Dᵀφ_{k−1})² + (Dᵀφ_k)²)/2 + G_k′(ρ_k) ≥ 0

is the inequality of Hamilton and Jacobi. The value of the Lagrangian at any φ bounds the action
from below, each cell by its tangent in ρ.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar


class Action(eqx.Module):
    """The problem. A row of `flow` is an equation: first those of the cells, then constraints.

    **Arguments:**

    - `start`, `end`: ρ at both ends; `end` is `None` where it is free.
    - `before`, `after`: B and A. `flow`: D. `share`: W. `weight`: c.
    - `step`: h. `volume`: of a cell. `bound`: b, or `None`.
    - `energy`: f, the convex part of a cell's running cost, per time and volume; `potential`,
      `terminal`: the linear parts of it and of the cost of the end.
    - `gauge`: potentials that change nothing, rows of D's kernel.
    - `mobility`: M.
    """

    start: Float[Array, " n"]
    end: Float[Array, " n"] | None
    before: Float[Array, "rows n"]
    after: Float[Array, "rows n"]
    flow: Float[Array, "rows fluxes"]
    share: Float[Array, "fluxes n"]
    weight: Float[Array, " fluxes"]
    potential: Float[Array, " n"]
    terminal: Float[Array, " n"] | None
    gauge: Float[Array, "kernel rows"]
    step: FloatScalar
    volume: FloatScalar
    bound: FloatScalar | None
    steps: int = eqx.field(static=True)
    mobility: Callable[[Any], Any] = eqx.field(static=True)
    energy: Callable[[Any], Any] | None = eqx.field(static=True)

    @property
    def free(self) -> int:
        """How many times have an unknown density."""
        return self.steps - 1 if self.end is not None else self.steps

    def path(self, rho):
        """The densities at all times."""
        ends = [] if self.end is None else [self.end[None]]
        return jnp.concatenate([self.start[None], rho, *ends])

    def mobilities(self, path):
        moved = jax.vmap(jax.vmap(self.mobility))(path)
        return (moved[1:] + moved[:-1]) / 2 @ self.share.T

    def kinetic(self, phi):
        """What the slopes of φ pay at each cell for a unit of mobility, of each step."""
        return (self.weight * (phi @ self.flow) ** 2 / 2) @ self.share

    def around(self, values):
        """The sums over the steps before and after each free time."""
        last = [] if self.end is not None else [jnp.zeros_like(values[:1])]
        later = jnp.concatenate([values[1:], *last])
        return values[: self.free] + later

    def costs(self, path):
        """G at all times, the running part by the trapezoidal rule."""
        running = path @ self.potential
        if self.energy is not None:
            running = running + jnp.sum(jax.vmap(jax.vmap(self.energy))(path), axis=1)
        share = jnp.ones(self.steps + 1, path.dtype).at[0].set(0.5).at[-1].set(0.5)
        total = self.step * self.volume * share * running
        if self.terminal is not None:
            total = total.at[-1].add(self.volume * jnp.vdot(self.terminal, path[-1]))
        return total

    def residual(self, rho, phi):
        """What the equation of continuity misses."""
        path = self.path(rho)
        flux = self.weight * self.mobilities(path) * (phi @ self.flow)
        return path[1:] @ self.after.T - path[:-1] @ self.before.T - self.step * flux @ self.flow.T

    def slack(self, rho, phi):
        """s less the part of the bound."""
        slope, _ = cost_slopes(self, rho)
        late = jnp.concatenate([phi, jnp.zeros_like(phi[:1])])[1 : self.free + 1]
        rise = phi[: self.free] @ self.after - late @ self.before
        paid = self.step / 2 * slope_of(self.mobility)(rho) * self.around(self.kinetic(phi))
        return rise - paid + slope

    def lagrangian(self, rho, phi, upper):
        """Its value at the optimum is the action, and its derivatives are those of the action."""
        path = self.path(rho)
        change = path[1:] @ self.after.T - path[:-1] @ self.before.T
        slopes = self.weight * self.mobilities(path) * (phi @ self.flow) ** 2
        value = jnp.sum(phi * change) - self.step * jnp.sum(slopes) / 2 + jnp.sum(self.costs(path))
        if self.bound is not None:
            value = value + jnp.sum(upper * (rho - self.bound))
        return value

    def action(self, rho, flux):
        path = self.path(rho)
        paid = flux**2 / (2 * self.weight * self.mobilities(path))
        return self.step * jnp.sum(paid) + jnp.sum(self.costs(path))

    def dual(self, rho, phi, upper):
        """The least value of the Lagrangian over 0 ≤ ρ ≤ b, or a number below it.

        It is convex in each ρ, so above its tangent, and a cell never holds more than all mass.
        """
        slope = self.slack(rho, phi)
        most = jnp.sum(self.start) if self.bound is None else self.bound
        tangent = self.lagrangian(rho, phi, jnp.zeros_like(rho)) - jnp.sum(slope * rho)
        return tangent + most * jnp.sum(jnp.minimum(slope, 0))


def slope_of(function):
    return jax.vmap(jax.vmap(jax.grad(function)))


def cost_slopes(problem: Action, rho):
    """G′ and G″ at the free times."""
    share = jnp.ones(problem.free, rho.dtype)
    share = share if problem.end is not None else share.at[-1].set(0.5)
    size = problem.step * problem.volume * share[:, None]
    first, second = size * problem.potential, jnp.zeros_like(rho)
    if problem.energy is not None:
        first = first + size * slope_of(problem.energy)(rho)
        second = size * slope_of(jax.grad(problem.energy))(rho)
    if problem.terminal is not None:
        first = first.at[-1].add(problem.volume * problem.terminal)
    return first, second
