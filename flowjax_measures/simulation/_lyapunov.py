r"""Lyapunov exponents: how fast runs that start close to each other part.

    V̇ = (∂v/∂X) V dt + (∂σ/∂X) V dW,   λ = lim (1/T) log ‖V_T‖

by the derivative of the steps themselves, under the noise that moves the state, with V brought back
to length one after each ([benettin1980]). λ < 0 says that runs under the same noise synchronise.
"""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._custom_types import Count, PRNGKey
from .._numerics import checked, compiled
from .._numerics._checks import check_positive
from .._system import AbstractSystem
from ..measures import Gaussian, GridDensity, Particles
from ..measures._base import is_measure, replace
from ._stepper import Stepper
from ._terms import like, pose

# So many means over stretches of time give the standard error.
_STRETCHES = 32


class LyapunovExponent(NamedTuple):
    """What `lyapunov_exponent` returns.

    - `value`: λ in units of 1/time, of shape () or, for several exponents, (count,), decreasing.
    - `standard_error`: of `value`, from means over 32 stretches of the run.
    - `final`: the state at the end.

    !!! example

        `fm.lyapunov_exponent(fm.Langevin(f), mu, key, dt=0.05, time=4.0).value`
    """

    value: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    final: Any


@checked
def lyapunov_exponent(
    system: AbstractSystem,
    mu: Any,
    key: PRNGKey | None = None,
    *,
    dt: float,
    time: float | None = None,
    burn_in: float | None = None,
    count: Count | None = None,
    solver: diffrax.AbstractSolver | None = None,
) -> LyapunovExponent:
    r"""The top Lyapunov exponent of a run of `system` from `mu`, or the `count` largest.

    All particles move together: of particles that do not see each other it is the largest of
    theirs. Points under a shared noise (SGD's minibatches, random layers) with λ < 0 synchronise,
    their distance falling as e^{λt}. Masses are not perturbed.

    **Arguments:**

    - `system`, `mu`, `key`, `dt`, `solver`: as of `simulate`, at constant steps. Training by
      `minibatch` with `dt=eta` is in units of the limits' time, with `dt=1` per step.
    - `time`: how long to average; 10,000 steps by default. `burn_in`: how long to run before; a
      tenth of `time`.
    - `count`: how many exponents; one, as a scalar, by default.

    **Returns:** `LyapunovExponent(value, standard_error, final)`. `value` is −∞ where steps
    contract to a point and NaN where the run stops being finite.

    **Raises:** `ValueError` that names the argument.

    !!! example

        ```python
        sgd = fm.minibatch(loss, data, 1, optax.sgd(eta))
        start = fm.Particles(theta[None])
        value, error, _ = fm.lyapunov_exponent(sgd, start, jr.key(0), dt=eta, time=1e4 * eta)
        ```
    """
    time = 10_000 * dt if time is None else time
    for name, number in (("dt", dt), ("time", time)):
        check_positive(name, number)
    burn_in = time / 10 if burn_in is None else burn_in
    if not burn_in >= 0:
        raise ValueError(f"`burn_in` is {burn_in}; give a time ≥ 0.")
    steps, skip = round(time / dt), round(burn_in / dt)
    if steps < _STRETCHES:
        raise ValueError(f"`time` is {steps} steps `dt`; give at least {_STRETCHES}.")
    if count is not None and count < 1:
        raise ValueError(f"`count` is {count}; give 1 or more.")
    loop = Stepper(system, float(dt), solver)
    growth, final = _growth(loop, mu, key, steps, skip, 1 if count is None else count)
    kept = growth[: steps // _STRETCHES * _STRETCHES].reshape(_STRETCHES, -1, growth.shape[1])
    means = kept.mean(1) / dt
    error = jnp.std(means, 0, ddof=1) / _STRETCHES**0.5
    value = growth.mean(0) / dt
    if count is None:
        value, error = value[0], error[0]
    return LyapunovExponent(value, error, final)


@compiled
def _growth(loop: Stepper, mu: Any, key: Any, steps: int, skip: int, count: int) -> Any:
    """The logarithms of what each step does to the volumes that tangents span, (steps, count)."""
    start = loop.init(mu, key)
    problem, y, _ = pose(loop.system, start.state, 0.0)
    unravel = ravel_pytree(y)[1]
    flat = lambda tree: ravel_pytree(like(y, tree))[0]  # noqa: E731
    size = flat(y).size
    if count > size:
        raise ValueError(f"`count` is {count} for a state of {size} numbers that move.")

    live = flat(jax.tree.map(_live, start.state, is_leaf=is_measure)) > 0

    def one(key):
        draw = jax.random.normal(key, (size,), flat(y).dtype)
        return flat(jax.tree.map(_direction, unravel(jnp.where(live, draw, 0)), is_leaf=is_measure))

    directions = jax.vmap(one)(jax.random.split(jax.random.key(0), count))

    def step(both, _):
        carry, tangents = both

        def onward(z):
            state = problem.merge(unravel(z))
            after = loop.step(loop.moved(carry, state))
            return flat(after.state), after

        here = flat(carry.state)
        push = lambda v: jax.jvp(onward, (here,), (v,), has_aux=True)[1:]  # noqa: E731
        grown, after = jax.vmap(push, 1, (1, None))(tangents)
        tangents, upper = jnp.linalg.qr(jnp.where(live[:, None], grown, 0))
        return (after, tangents), jnp.log(jnp.abs(jnp.diagonal(upper)))

    both = start, jnp.linalg.qr(directions.T)[0]
    both, _ = jax.lax.scan(step, both, length=skip)
    (end, _), growth = jax.lax.scan(step, both, length=steps)
    finite = jnp.all(jnp.isfinite(flat(end.state)) | ~live)
    return jnp.where(finite, growth, jnp.nan), end.state


def _live(node: Any) -> Any:
    """Ones, and zeros for atoms without mass, that nobody sees."""
    if not isinstance(node, Particles) or node.log_w is None:
        return jax.tree.map(jnp.ones_like, node)
    seen = node.log_w > -jnp.inf
    rows = lambda a: jnp.where(seen.reshape(-1, *[1] * (a.ndim - 1)), jnp.ones_like(a), 0)  # noqa: E731
    return replace(node, x=jax.tree.map(rows, node.x), log_w=rows(node.log_w))


def _direction(node: Any) -> Any:
    """A direction in which a measure can move, its masses as they are."""
    if isinstance(node, Particles) and node.log_w is not None:
        return replace(node, log_w=jnp.zeros_like(node.log_w))
    if isinstance(node, Gaussian):
        return replace(node, cov=(node.cov + node.cov.T) / 2)
    if isinstance(node, GridDensity):
        return replace(node, rho=node.rho - jnp.mean(node.rho))
    return node
