r"""How far a learned score is from that of the law that a flow moves, and what that costs.

    ė = r − (∇b)ᵀe + (∇s − ∇sᵀ) b   along Ẋ = b(t, X),   e = s − ∇ log ρ,
    KL(ρ_T ‖ ρ'_T) ≤ ¼ ∫_0^T ε E‖e‖² dt

r is the residual of the Fokker–Planck equation, ρ the law of the flow of b and ρ' that of the
diffusion dX = (b + εs) dt + √(2ε) dW from the same source ([deveney2025]; the bound is Girsanov's).
No density is asked for: the errors of s are carried along the paths.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, PRNGKey, Scalar
from .._numerics import checked
from .._system import Custom
from ..measures import Gaussian, Particles
from ..simulation import simulate
from ..systems.generative import ProbabilityFlow, fokker_planck_residual


class ScoreError(eqx.Module):
    """What `score_error` returns.

    - `points`: ends of the paths. `errors`: e there, shape (n, d).
    - `bound`: of KL(ρ_T ‖ ρ'_T), by the mean over the paths; `standard_error`: of that mean.

    !!! example

        `score_error(flow, source, key=key, dt=0.01).bound`
    """

    points: Float[Array, "n d"]
    errors: Float[Array, "n d"]
    bound: FloatScalar
    standard_error: FloatScalar


@checked
def score_error(
    flow: ProbabilityFlow,
    source: Gaussian,
    *,
    key: PRNGKey,
    n: Count = 1000,
    horizon: Scalar = 1.0,
    **options: Any,
) -> ScoreError:
    r"""The error of a flow's score along its paths, and a bound of the gap of flow and diffusion.

    Exact but for the steps and for the n paths.

    **Arguments:**

    - `flow`: with `velocity` b, `score` s and `diffusion` ε.
    - `source`: ρ_0, whose score is known. `key`, `n`: of the paths. `horizon`: T.
    - `options`: of `simulate`: `dt`, `solver`, …

    **Raises:** `ValueError` for a flow without a score.

    !!! example

        ```python
        law = fm.ProbabilityFlow(lambda t, x: -x, lambda t, x: -x, 1.0)
        fm.score_error(law, fm.Gaussian(jnp.zeros(2), jnp.eye(2)), key=key, dt=0.1).bound
        ```
    """
    velocity, score, diffusion = flow.velocity, flow.score, flow.diffusion
    if score is None or diffusion is None:
        raise ValueError("`flow` has no score or no `diffusion`; give a ProbabilityFlow with both.")

    def rates(t, z, mu):
        x, e, _ = z
        b, pull = jax.vjp(lambda x: velocity(t, x), x)
        slope = jax.jacfwd(lambda x: score(t, x))(x)
        change = fokker_planck_residual(velocity, score, t, x) - pull(e)[0]
        strength = jnp.asarray(diffusion(t) if callable(diffusion) else diffusion, x.dtype)
        # Of a score that is no gradient, the part that turns.
        return b, change + (slope - slope.T) @ b, strength * jnp.sum(e**2) / 4

    x = source.sample(key, n)
    first = jax.vmap(lambda x: score(jnp.zeros((), x.dtype), x) - jax.grad(source.log_density)(x))(
        x
    )
    state = Particles((x, first, jnp.zeros(n, x.dtype)))
    times: Any = [0.0, horizon]
    points, errors, costs = simulate(Custom(rates), state, times, **options).final.x
    return ScoreError(points, errors, jnp.mean(costs), jnp.std(costs) / n**0.5)
