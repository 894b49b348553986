r"""Variational inference by stochastic steps in the space of Gaussians ([diao2023], [lambert2022]).

    X_j = m ± Σ^{1/2} Z_j,   m′ = m − h ∇V,   S = (I − h ∇²V) Σ (I − h ∇²V)     (means over X_j)
    Σ′ = ½ (S + 2τ I + (S (S + 4τ I))^{1/2}),   τ = h/β

a gradient step of ∫V from the derivatives of V at a few draws, then the minimising movement of the
entropy in closed form: Σ stays positive at any h, and V may itself be an estimate from a batch of
data. At rest, in the mean, up to O(h), E∇V = 0 and βE∇²V = Σ⁻¹, as of the flow.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._custom_types import FloatScalar, Point, PRNGKey
from .._numerics._checks import check_key, check_positive
from .._numerics._cubature import factor
from .._system import Averaged
from ..energies import KL, GaussianMixtureKL
from ..measures import Gaussian, Particles
from ..measures._base import replace
from ..metrics import Wasserstein
from ..systems.flows import GradientFlow
from ..systems.sampling import IndependentProjection, Langevin
from ._base import AbstractScheme, posed, step_index


class StochasticBures(AbstractScheme):
    """Stochastic steps of Gaussians, products and mixtures towards e^{−βV}.

    From a `Gaussian` under `Langevin` or the flow of `KL`; with a diagonal covariance under
    `IndependentProjection`, the best product of Gaussians; from a mixture under the flow of
    `GaussianMixtureKL`, whose entropy has no closed form and is taken with V.

    **Arguments:** `key`: of the draws. `pairs`: how many pairs m ± Σ^{1/2}z a step. `estimate`: a
    function of a point and a key with the mean V(x) over keys, such as V on a batch of the data; a
    step has one key for it. `None` is V itself.

    **Raises:** `ValueError` for other systems and states.

    !!! example

        `fm.simulate(fm.Langevin(V), gaussian, [0.0, 5.0], dt=0.05,
        solver=fm.StochasticBures(key))`
    """

    key: PRNGKey
    pairs: int = eqx.field(static=True, default=1)
    estimate: Callable[[Point, PRNGKey], FloatScalar] | None = None

    orders: ClassVar = (1, None)

    def __check_init__(self):
        check_key(self.key)
        check_positive("pairs", self.pairs, 1)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        system = system.system if isinstance(system, Averaged) else system
        draws, told = jax.random.split(jax.random.fold_in(self.key, step_index(terms, t0, t1)))
        h = t1 - t0
        energy = None
        if isinstance(system, GradientFlow) and isinstance(system.metric, Wasserstein):
            energy = system.energy
        if isinstance(mu, Gaussian) and isinstance(system, Langevin | IndependentProjection):
            beta = getattr(system, "beta", 1.0)
            alone = isinstance(system, IndependentProjection)
            y1 = self._one(mu, self._known(system.potential, told), h, h / beta, draws, alone)
        elif isinstance(mu, Gaussian) and isinstance(energy, KL):
            y1 = self._one(mu, self._known(energy.potential, told), h, h, draws, False)
        elif isinstance(mu, Particles) and isinstance(energy, GaussianMixtureKL):
            height = self._known(energy.potential, told)
            excess = lambda y: height(y) + mu.log_density(y)  # noqa: E731
            keys = jax.random.split(draws, mu.size())
            move = lambda part, key: self._one(part, excess, h, None, key, False)  # noqa: E731
            y1 = replace(y0, x=jax.vmap(move)(mu.x, keys))
        else:
            raise ValueError(
                f"StochasticBures was given {type(system).__name__} from a {type(mu).__name__}; "
                "it steps Langevin, IndependentProjection and flows of KL from a Gaussian, and "
                "flows of GaussianMixtureKL from Particles of them."
            )
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

    def _known(self, potential: Any, key: PRNGKey) -> Callable[[Point], FloatScalar]:
        estimate = self.estimate
        return potential if estimate is None else lambda x: estimate(x, key)

    def _one(self, mu: Gaussian, height: Any, h: Any, tau: Any, key: PRNGKey, alone: bool) -> Any:
        """One Gaussian's step; `tau` is the time of the entropy's, `alone` keeps Σ diagonal."""
        d, dtype = mu.m.size, mu.m.dtype
        h = jnp.asarray(h, dtype)
        z = jax.random.normal(key, (self.pairs, d), dtype) @ factor(mu.cov).T
        x = mu.m + jnp.concatenate([z, -z])
        slope = jnp.mean(jax.vmap(jax.grad(height))(x), 0)
        bend = jnp.mean(jax.vmap(jax.hessian(height))(x), 0)
        bend = jnp.diag(jnp.diagonal(bend)) if alone else bend
        push = jnp.eye(d, dtype=dtype) - h * bend
        cov = push @ mu.cov @ push.T
        if tau is not None:
            cov = _spread(cov, jnp.asarray(tau, dtype))
        return replace(mu, m=mu.m - h * slope, cov=(cov + cov.T) / 2)


def _spread(cov: Array, tau: FloatScalar) -> Array:
    """The minimising movement of the entropy over the time τ, in the axes of Σ."""
    values, vectors = jnp.linalg.eigh((cov + cov.T) / 2)
    values = jnp.maximum(values, 0)
    wider = (values + 2 * tau + jnp.sqrt(values * (values + 4 * tau))) / 2
    return (vectors * wider) @ vectors.T
