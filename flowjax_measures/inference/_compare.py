r"""`compare`: the distance between SGD and its limits, over step sizes.

    e(η) = |E f(θ_{T/η}) − E f(X_T)|  ~  c η^p

for observables f: p = 1 for the gradient flow and the modified equation of order 1, 2 for order 2.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._custom_types import Count, FloatScalar, Point, PRNGKey
from .._numerics import checked
from .._numerics._cubature import degree
from .._system import AbstractSystem
from ..energies import PotentialEnergy
from ..measures import Gaussian, Particles
from ..simulation._simulate import simulate
from ..solvers import SmallNoiseHeun
from ..systems.flows import GradientFlow
from ..systems.sgd import (
    StochasticModifiedEquation,
    StochasticModifiedFlow,
    minibatch,
    sgd_moments,
)
from ._slope import Slope, fitted_slope, largest

Loss = Callable[[Point, Any], FloatScalar]
# So many runs at once.
_BATCH = 4096


class Comparison(eqx.Module):
    """What `compare` returns.

    - `etas`: the step sizes.
    - `errors`: for each limit, and `standard_errors`: shape (etas, observables).
    - `slopes`: for each limit, of its largest error over observables.
    - `fluctuation`: √E‖θ − X‖² to the gradient flow X under the same start, which is of order √η;
      its slope is `slopes["fluctuation"]`.

    !!! example

        `fm.compare(loss, data, [0.1, 0.05], jnp.zeros(2), batch=2).slopes`
    """

    etas: Float[Array, " e"]
    errors: dict[str, Float[Array, "e p"]]
    standard_errors: dict[str, Float[Array, "e p"]]
    fluctuation: Float[Array, " e"]
    slopes: dict[str, Slope]

    def plot(self, ax: Any = None) -> Any:
        """Errors over step sizes, in logarithms; bars are two standard errors."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
        for name, errors in self.errors.items():
            top, bar = largest(np.asarray(errors), np.asarray(self.standard_errors[name]))
            slope = self.slopes[name]
            label = f"{name}: {slope.value:.2f} [{slope.lower:.2f}, {slope.upper:.2f}]"
            ax.errorbar(np.asarray(self.etas), top, 2 * bar, marker="o", label=label)
        ax.set(xscale="log", yscale="log", xlabel="η", ylabel="weak error")
        ax.legend()
        return ax


@checked
def compare(
    loss: Loss,
    data: PyTree,
    etas: Any,
    initial: Any,
    *,
    batch: Count = 1,
    time: float = 1.0,
    replacement: bool = True,
    observe: Callable[[Particles], Any] | None = None,
    limits: Mapping[str, Callable[[float], AbstractSystem]] | None = None,
    runs: Count | None = None,
    key: Any = None,
    substeps: Count = 8,
) -> Comparison:
    r"""Weak errors of SGD against its limits at the time T = kη, with slopes.

    Without `runs` all moments are exact, of SGD by its recursion, of the limits as linear
    equations. That needs a loss quadratic in the parameters, and float64 for errors below 1e-5.
    With `runs` both are simulated.

    **Arguments:**

    - `loss`, `data`, `batch`, `replacement`: as of `minibatch`.
    - `etas`: step sizes, a list, which divide `time`. `initial` before it, as it once was, is
      understood with a warning.
    - `initial`: parameters, or `Particles` of several initial points under the same minibatches.
    - `time`: T.
    - `observe`: f, a function of the `Particles` of all points to a pytree; default all first and
      second moments of parameters, across points. Exact moments need one that is at most quadratic.
    - `limits`: functions from η to a system, run from the points, for exact moments from a Dirac
      of all their parameters in one vector. Default: the gradient flow, the modified equations of
      order 1 and 2; simulated, of several points, in the place of the latter the modified flow and
      the modified equation with the shared symmetric root.
    - `runs`, `key`: the number of independent runs, and their key.
    - `substeps`: steps of the limits in a step of SGD: a limit with the step η would be SGD with
      Gaussian noise, and hide its error.

    **Returns:** a `Comparison`. Slopes are fitted to the logarithms, weighted by standard errors.

    !!! example

        `compare(loss, data, [0.1, 0.05, 0.025], jnp.zeros(2)).slopes["SME-2"]`
    """
    if _is_steps(initial) and not _is_steps(etas):
        told = "`compare` takes `etas` before `initial`, as other functions of SGD do."
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        etas, initial = initial, etas
    points = initial if isinstance(initial, Particles) else _cloud(initial)
    if not hasattr(etas, "__len__"):
        raise ValueError(f"`etas` is {etas!r}; give a list of step sizes.")
    if len(etas) < 2 or any(abs(time / eta - round(time / eta)) > 1e-6 for eta in etas):
        raise ValueError(f"`etas` are {etas}; give at least two that divide `time`, {time}.")
    if runs is not None and key is None:
        raise ValueError("`key` is missing: `runs` are random. Give key=jax.random.key(0).")
    study = _Study(loss, data, points, batch, time, replacement, observe or _moments, substeps)
    if limits is None:
        limits = study.limits(simulated=runs is not None)
    errors: dict[str, list] = {name: [] for name in limits}
    deviations: dict[str, list] = {name: [] for name in limits}
    fluctuation, flow = [], study.flow(exact=runs is None)
    for j, eta in enumerate(map(float, etas)):
        if runs is None:
            truth, spread = study.exact(eta, flow)
        else:
            keys = jax.random.split(jax.random.fold_in(key, j), len(limits) + 1)
            truth, spread = study.sampled(study.sgd(eta), eta, None, runs, keys[-1], flow)
        fluctuation.append(spread)
        for i, (name, limit) in enumerate(limits.items()):
            if runs is None:
                value = study.closed(limit(eta))
            else:
                dt, solver = eta / substeps, SmallNoiseHeun()
                value, _ = study.sampled(limit(eta), dt, solver, runs, keys[i], flow)
            errors[name].append(np.abs(value[0] - truth[0]))
            deviations[name].append(np.hypot(value[1], truth[1]))
    slopes = {
        name: fitted_slope(
            np.asarray(etas), *largest(np.array(errors[name]), np.array(deviations[name]))
        )
        for name in limits
    }
    nothing = np.zeros(len(etas))
    slopes["fluctuation"] = fitted_slope(np.asarray(etas), np.array(fluctuation), nothing)
    stack = lambda tree: {name: jnp.asarray(np.array(rows)) for name, rows in tree.items()}  # noqa: E731
    return Comparison(
        jnp.asarray(etas), stack(errors), stack(deviations), jnp.asarray(fluctuation), slopes
    )


def _cloud(params: Point) -> Particles:
    return Particles(jax.tree.map(lambda a: jnp.asarray(a)[None], params))


def _moments(mu: Particles) -> Any:
    flat = ravel_pytree(mu.x)[0]
    return flat, jnp.outer(flat, flat)[np.triu_indices(flat.size)]


def _is_steps(value: Any) -> bool:
    """Whether an argument is a list of step sizes, not parameters."""
    return isinstance(value, list | tuple) and all(isinstance(v, float | int) for v in value)


class _Study(eqx.Module):
    """One comparison: values are pairs (means, standard errors), flat over observables."""

    loss: Loss
    data: PyTree
    points: Particles
    batch: int
    time: float
    replacement: bool
    observe: Callable[[Particles], Any]
    substeps: int

    def limits(self, simulated: bool) -> dict[str, Callable[..., AbstractSystem]]:
        loss, risk = (self.loss, self.risk) if simulated else (self.joint, self.joint_risk)

        def equation(order, shared=False):
            return lambda eta: StochasticModifiedEquation(
                loss, self.data, eta, self.batch, order, self.replacement, shared
            )

        found: dict[str, Callable[..., AbstractSystem]] = {
            "gradient flow": lambda eta: GradientFlow(PotentialEnergy(risk))
        }
        if simulated and self.points.size() > 1:
            flow = lambda eta: StochasticModifiedFlow(  # noqa: E731
                loss, self.data, eta, self.batch, self.replacement
            )
            return found | {"SMF": flow, "SME-2 with the root": equation(2, shared=True)}
        return found | {"SME-1": equation(1), "SME-2": equation(2)}

    def risk(self, params: Point) -> FloatScalar:
        return jnp.mean(jax.vmap(lambda example: self.loss(params, example))(self.data))

    def joint_risk(self, flat: Float[Array, " d"]) -> FloatScalar:
        return jnp.mean(jax.vmap(lambda example: self.joint(flat, example))(self.data))

    def joint(self, flat: Float[Array, " d"], example: Any) -> FloatScalar:
        """All points as one: the gradient of a sum is the pair of gradients."""
        x = ravel_pytree(self.points.x)[1](flat)
        return jnp.sum(jax.vmap(self.loss, (0, None))(x, example))

    def exact(self, eta: float, flow: Array):
        start = self._dirac()
        slope = lambda x: jax.grad(self.joint)(x, jax.tree.map(lambda a: a[0], self.data))  # noqa: E731
        if degree(slope, start.m) > 1:
            raise ValueError(
                "`loss` is not quadratic in the parameters, so that moments don't close; give "
                "`runs` and a `key`."
            )
        end = sgd_moments(
            self.joint, self.data, eta, self.batch, start, round(self.time / eta), self.replacement
        )
        spread = jnp.sqrt(jnp.trace(end.cov) + jnp.sum((end.m - flow) ** 2))
        return self._expected(end), float(spread)

    def closed(self, system: AbstractSystem):
        return self._expected(self._run(system))

    def _dirac(self) -> Gaussian:
        flat = ravel_pytree(self.points.x)[0]
        return Gaussian(flat, jnp.zeros((flat.size, flat.size), flat.dtype))

    def _run(self, system: AbstractSystem) -> Gaussian:
        return simulate(system, self._dirac(), [0.0, self.time]).final

    def _expected(self, mu: Gaussian):
        unravel = ravel_pytree(self.points.x)[1]

        @jax.jit
        def mean(mu):
            return mu.mean(lambda x: ravel_pytree(self.observe(Particles(unravel(x))))[0])

        value = np.asarray(mean(mu))
        return value, np.zeros(value.shape)

    def sgd(self, eta: float) -> AbstractSystem:
        return minibatch(self.loss, self.data, self.batch, optax.sgd(eta), self.replacement)

    def sampled(
        self, system: AbstractSystem, dt: float, solver: Any, runs: int, key: PRNGKey, flow: Array
    ):
        def one(key):
            final = self._final(system, dt, key, solver)
            gap = ravel_pytree(final.x)[0] - flow
            return ravel_pytree(self.observe(final))[0], jnp.sum(gap**2)

        if system(0.0, self.points).noise is None:
            runs = 1
        keys = jax.random.split(key, runs)
        values, gaps = jax.jit(lambda k: jax.lax.map(one, k, batch_size=min(runs, _BATCH)))(keys)
        error = jnp.std(values, axis=0) / np.sqrt(runs)
        value = np.asarray(jnp.mean(values, axis=0)), np.asarray(error)
        return value, float(jnp.sqrt(jnp.mean(gaps)))

    def flow(self, exact: bool) -> Float[Array, " d"]:
        """The gradient flow's end."""
        limit = self.limits(simulated=not exact)["gradient flow"](0.0)
        return self._run(limit).m if exact else ravel_pytree(self._final(limit, None, None).x)[0]

    def _final(self, system, dt, key, solver=None) -> Particles:
        return simulate(
            system, self.points, [0.0, self.time], dt=dt, key=key, solver=solver, throw=False
        ).final
