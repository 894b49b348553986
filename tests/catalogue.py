"""Every system once: what the invariants of `test_catalogue.py` run over.

One line a system: `"name": lambda: Case(system, measure, ...)`. Small shapes, float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm


@dataclass(frozen=True)
class Case:
    """A system with an initial state, and what is known of it.

    - `ts`, `dt`: times and, for constant steps, the step.
    - `exact`: t ↦ (mean, covariance) of the state, where known; checked to `tolerance`.
    - `lyapunov`: functional of the state that never increases along a deterministic run.
    - `exchangeable`: whether the order of the particles means nothing (causal order does).
    - `splits`: whether splitting an atom in two halves changes nothing (with exclusions it does).
    - `conserves`: whether the total mass is kept.
    """

    system: fm.AbstractSystem
    state: Any
    ts: tuple[float, ...] = (0.0, 0.1, 0.2)
    dt: float | None = 0.05
    exact: Callable[[float], tuple[Any, Any]] | None = None
    tolerance: float = 1e-6
    lyapunov: Callable[[Any], Any] | None = None
    exchangeable: bool = True
    splits: bool = True
    conserves: bool = True


def cloud(n: int = 7, d: int = 3, seed: int = 0, **kwargs) -> fm.Particles:
    """A small cloud of standard normal particles."""
    return fm.Particles(jr.normal(jr.key(seed), (n, d)), **kwargs)


def tokens(n: int = 7, d: int = 3, seed: int = 0) -> fm.Particles:
    """A small cloud of particles on the sphere."""
    return cloud(n, d, seed, space=fm.Sphere()).retract()


def normal(d: int = 2) -> fm.Gaussian:
    """A Gaussian that is neither centred nor isotropic."""
    a = jnp.eye(d) + 0.3 * jnp.tri(d, k=-1, dtype=float)
    return fm.Gaussian(0.5 * jnp.arange(1.0, d + 1), 0.4 * a @ a.T)


def _ou(t: float) -> tuple[Any, Any]:
    mu = normal()
    decay = np.exp(-1.3 * t)
    return decay * mu.m, decay**2 * mu.cov + (1 - decay**2) / (2.0 * 1.3) * jnp.eye(2)


def _path(t) -> fm.Gaussian:
    return fm.Gaussian(jnp.stack([t, 1 + t]), (1 + t) * jnp.eye(2, dtype=t.dtype))


def _bowl(x):
    return jnp.sum((x - 0.3) ** 2)


def _model(x):
    return jnp.stack([x[0] + 0.5 * x[1], jnp.sin(x[1])])


def _pair(x, y):
    return y - x


def _triple(x, y, z):
    return jnp.vdot(x, y) * (z - x)


def regression() -> tuple[Any, Any]:
    """Five examples of linear regression in the plane."""
    return jr.normal(jr.key(11), (5, 2)), jr.normal(jr.key(12), (5,))


def _square(params, example):
    z, y = example
    return (jnp.vdot(z, params) - y) ** 2 / 2


def _transformer(clip=None) -> fm.ResidualTransformer:
    """Two layers of two heads that read one row, on two sequences of three tokens."""
    sequences = cloud(6).x.reshape(2, 3, -1)
    return fm.ResidualTransformer(2, 2, 3, 1, (sequences, sequences[:, 0, :1]), clip=clip)


def _bumps() -> fm.AllenCahn:
    return fm.AllenCahn(-6.0, 6.0, well=lambda u: u**2 * (1 - u) ** 2, nodes=40)


def _film() -> fm.GridDensity:
    return fm.GridDensity(1 + 0.3 * jnp.sin(jnp.arange(6.0)), 0.0, 6.0, True)


def _graph(n: int) -> Any:
    w = cloud(n=n, d=n).x ** 2
    return w + w.T


def _heat_energy(x):
    """Of a particle in a bath: (position, momentum, entropy of the bath)."""
    return x[1] ** 2 / 2 + x[0] ** 4 / 4 + jnp.exp(x[2])


def _heat_friction(x):
    heat = jnp.exp(x[2])
    v = jnp.stack([jnp.zeros_like(heat), jnp.ones_like(heat), -x[1] / heat])
    return heat / 2 * jnp.outer(v, v)


TURN = jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
ROTATION = jnp.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])

CASES: dict[str, Callable[[], Case]] = {
    "self-attention": lambda: Case(fm.SelfAttention(beta=2.0), cloud()),
    "self-attention-sphere": lambda: Case(
        fm.SelfAttention(beta=2.0),
        tokens(),
        lyapunov=lambda mu: (
            -jnp.exp(
                jnp.log(mu.mean(lambda x: jnp.exp(mu.logmean(lambda y: 2.0 * jnp.vdot(x, y)))))
            )
        ),
    ),
    "self-attention-matrices": lambda: Case(
        fm.SelfAttention(ROTATION, ROTATION.T, -ROTATION, 1.5, "mean"), tokens()
    ),
    "self-attention-gaussian": lambda: Case(
        fm.SelfAttention(beta=0.5), normal(), dt=None, ts=(0.0, 0.2)
    ),
    "alignment": lambda: Case(fm.alignment_flow(ROTATION), tokens()),
    "heat-flow": lambda: Case(fm.HeatFlow(-0.7), tokens(), dt=0.02),
    "pre-normalised": lambda: Case(fm.Normalized(fm.SelfAttention(beta=2.0)), cloud()),
    "peri-normalised": lambda: Case(fm.Normalized(fm.SelfAttention(beta=2.0), "peri"), cloud()),
    "log-time": lambda: Case(fm.LogTime(fm.MeanShift(beta=2.0)), tokens()),
    "harmonic-heat": lambda: Case(fm.HarmonicHeatFlow(-0.3, 3), jnp.ones((3, 2))),
    "causal-kinetic": lambda: Case(
        fm.CausalKinetic(1.5, 0.8),
        fm.GridDensity(1 + cloud(4, 6).x ** 2, 0.0, jnp.array([1.0, 6.28]), (False, True)),
        dt=0.02,
    ),
    "in-context": lambda: Case(
        fm.Species(
            {name: fm.Reading(fm.SelfAttention(beta=2.0)) for name in ("context", "queries")}
        ),
        {"context": tokens(), "queries": tokens(3, seed=1)},
        conserves=False,
    ),
    "self-attention-causal": lambda: Case(
        fm.SelfAttention(beta=2.0, causal=True), tokens(), exchangeable=False, splits=False
    ),
    "self-attention-heads": lambda: Case(
        fm.SelfAttention(
            jnp.stack([ROTATION, ROTATION.T]), value=jnp.stack([ROTATION, -ROTATION]), beta=0.8
        ),
        tokens(),
    ),
    "causal-attention": lambda: Case(
        fm.CausalAttention(beta=2.0, recency=1.5), tokens(), exchangeable=False, splits=False
    ),
    "causal-circle": lambda: Case(
        fm.CausalCircle(1.5, 0.8), cloud(d=1), exchangeable=False, splits=False
    ),
    "feed-forward": lambda: Case(
        fm.SelfAttention(beta=2.0) + fm.FeedForward(ROTATION, activation=jnp.tanh), tokens()
    ),
    "transformer-block": lambda: Case(
        fm.TransformerBlock(
            fm.WithConstant(fm.SelfAttention(beta=2.0)),
            fm.FeedForward(ROTATION, activation=jnp.tanh),
            (fm.LayerNorm(), fm.LayerNorm()),
            step=0.1,
        ),
        cloud(),
    ),
    "graph-attention": lambda: Case(
        fm.GraphAttention(cloud(6, 6).x ** 2, beta=1.5), tokens(6), exchangeable=False, splits=False
    ),
    "graphon-vlasov": lambda: Case(
        fm.GraphonVlasov(fm.GraphAttention(lambda a, b: 1 + a * b, beta=0.7)), cloud(d=3)
    ),
    "hypergraph": lambda: Case(fm.HypergraphInteraction((_pair, _triple)), cloud()),
    "in-coordinates": lambda: Case(
        fm.InCoordinates(fm.SelfAttention(beta=2.0), fm.circle_chart), cloud(d=1)
    ),
    "pairing": lambda: Case(fm.PairingFlow(), tokens(4), splits=False, dt=0.02),
    "l2-attention": lambda: Case(fm.L2Attention(ROTATION, beta=0.7), cloud()),
    "linear-attention": lambda: Case(fm.LinearAttention(ROTATION, beta=0.3), cloud()),
    "linear-attention-gaussian": lambda: Case(fm.LinearAttention(beta=0.3), normal()),
    "b-diffusion": lambda: Case(
        fm.BDiffusion(lambda t, x: jnp.diag(1 + x[::-1] ** 2) / 4), cloud(), dt=0.02
    ),
    "inertial-block": lambda: Case(
        fm.InertialBlock(
            fm.SympFormer(query=ROTATION[None], damping=0.0),
            fm.FeedForward(),
            fm.LogLinear(),
            step=0.5,
        ),
        fm.Particles(fm.Phase(cloud().x, cloud(seed=1).x)),
    ),
    "random-features": lambda: Case(
        fm.SelfAttention(beta=2.0)
        + fm.RandomMLPNoise("tanh", 0.5, features=jr.normal(jr.key(8), (5, 3))),
        tokens(),
        dt=0.02,
    ),
    "random-mlp": lambda: Case(
        fm.SelfAttention(beta=2.0) + fm.RandomMLPNoise("relu", 0.5),
        tokens(),
        dt=0.02,
        exchangeable=False,
        splits=False,
    ),
    "random-quadratic-form": lambda: Case(fm.RandomQuadraticForm(0.7), tokens(), dt=0.02),
    "sinkhorn-attention": lambda: Case(fm.SinkhornAttention(ROTATION, beta=0.7), tokens()),
    "sinkhorn-attention-iterations": lambda: Case(
        fm.SinkhornAttention(ROTATION, beta=0.7, iterations=3), tokens()
    ),
    "sinkhorn-attention-gaussian": lambda: Case(fm.SinkhornAttention(beta=0.7), normal()),
    "sympformer-linear": lambda: Case(
        fm.SympFormer("linear", value=-jnp.eye(3), damping=0.5),
        fm.Particles(fm.Phase(cloud().x, cloud(seed=1).x)),
    ),
    "sympformer-softmax": lambda: Case(
        fm.SympFormer("softmax", beta=0.5, damping=0.5),
        fm.Particles(fm.Phase(cloud().x, cloud(seed=1).x)),
    ),
    "consensus-anisotropic": lambda: Case(
        fm.ConsensusBased(_bowl, sigma=0.6, alpha=5.0, noise="anisotropic"), cloud(d=2), dt=0.02
    ),
    "consensus-isotropic": lambda: Case(
        fm.ConsensusBased(_bowl, sigma=0.6, alpha=5.0, noise="isotropic"), cloud(d=2), dt=0.02
    ),
    "consensus-covariance": lambda: Case(
        fm.ConsensusBased(_bowl, sigma=0.6, alpha=5.0, noise="covariance"), cloud(d=2), dt=0.02
    ),
    "consensus-sampling": lambda: Case(
        fm.ConsensusBasedSampling(_bowl, alpha=0.7), cloud(d=2), dt=0.02
    ),
    "consensus-polarized": lambda: Case(
        fm.PolarizedConsensus(_bowl, sigma=0.6, alpha=5.0, kernel_width=0.8), cloud(d=2), dt=0.02
    ),
    "consensus-polarized-relative": lambda: Case(
        fm.PolarizedConsensus(_bowl, sigma=0.6, alpha=5.0, kernel_width=0.3, relative_width=True),
        cloud(d=2),
        dt=0.02,
    ),
    "consensus-adam": lambda: Case(
        fm.AdamConsensus(_bowl, 0.4, sigma=0.6, alpha=5.0, step=0.02),
        fm.Particles(fm.AdamPoint(cloud(d=2).x, cloud(d=2, seed=1).x, cloud(d=2, seed=2).x ** 2)),
        dt=0.02,
    ),
    "consensus-covariance-adapted": lambda: Case(
        fm.CovarianceConsensus(_bowl, 1.0, 0.6, 5.0), cloud(d=2), dt=0.02
    ),
    "consensus-regularized": lambda: Case(
        fm.RegularizedConsensus(
            _bowl, lambda x: jnp.sum(x**2) - 1, sigma=0.6, alpha=5.0, epsilon=0.5, nu=0.7
        ),
        cloud(d=2),
        dt=0.02,
    ),
    "consensus-memory": lambda: Case(
        fm.MemoryConsensus(_bowl, sigma=0.6, alpha=5.0, memory_sigma=0.3, sharpness=2.0),
        fm.Particles(fm.Memory(cloud(d=2).x, cloud(d=2, seed=1).x)),
        dt=0.005,
    ),
    "consensus-mirror": lambda: Case(
        fm.MirrorConsensus(_bowl, jnp.sinh, sigma=0.6, alpha=5.0), cloud(d=2), dt=0.02
    ),
    "consensus-swarm": lambda: Case(
        fm.SwarmConsensus(_bowl, sigma=0.6, alpha=5.0, inertia=0.5),
        fm.Particles(fm.Phase(cloud(d=2).x, cloud(d=2, seed=1).x)),
        dt=0.02,
    ),
    "consensus-saddle": lambda: Case(
        fm.SaddleConsensus(lambda x, y: _bowl(x) - _bowl(y) + jnp.vdot(x, y), sigma=0.6, alpha=5.0),
        {"min": cloud(d=2), "max": cloud(d=2, seed=1)},
        dt=0.02,
    ),
    "consensus-pareto": lambda: Case(
        fm.ParetoConsensus(
            lambda x: jnp.stack([jnp.sum(x**2), _bowl(x) + 0.1]),
            jnp.linspace(0.1, 0.9, 7)[:, None] * jnp.array([1.0, -1.0]) + jnp.array([0.0, 1.0]),
            sigma=0.6,
            alpha=5.0,
        ),
        fm.Particles((cloud(d=2).x, jnp.arange(7))),
        dt=0.02,
    ),
    "consensus-adaptive-pareto": lambda: Case(
        fm.AdaptivePareto(
            lambda x: jnp.stack([jnp.sum(x**2), _bowl(x) + 0.1]),
            sigma=0.6,
            alpha=5.0,
            adaptation=0.3,
            reach=0.8,
        ),
        fm.Particles((cloud(d=2).x, cloud(d=2, seed=1).x)),
        dt=0.02,
    ),
    "consensus-constrained": lambda: Case(
        fm.ConsensusBased(_bowl, sigma=0.6, alpha=5.0)
        + fm.EqualityConstraint(lambda x: jnp.sum(x**2) - 1, 0.5),
        cloud(d=2),
        dt=0.02,
    ),
    "inferred-gradient": lambda: Case(fm.InferredGradient(_bowl, 0.7, 0.9, 0.1), cloud(d=2)),
    "ensemble-kalman-inversion": lambda: Case(
        fm.EnsembleKalmanInversion(_model, jnp.ones(2), 0.5 * jnp.eye(2), "stochastic"),
        cloud(d=2),
    ),
    "ensemble-kalman-sampler": lambda: Case(
        fm.EnsembleKalmanSampler(_model, jnp.ones(2), 0.5, jnp.zeros(2), 2.0), cloud(d=2), dt=0.02
    ),
    "kalman-wasserstein-flow": lambda: Case(
        fm.KalmanWassersteinFlow(_bowl, beta=2.0), cloud(d=2), dt=0.02
    ),
    "ornstein-uhlenbeck": lambda: Case(fm.McKeanVlasov(fm.Quadratic(1.3), beta=2.0), cloud(d=2)),
    "ornstein-uhlenbeck-gaussian": lambda: Case(
        fm.McKeanVlasov(fm.Quadratic(1.3), beta=2.0), normal(), dt=None, exact=_ou
    ),
    "quadratic-kernel": lambda: Case(
        fm.McKeanVlasov(fm.Quadratic(0.5), fm.QuadraticKernel(0.7), beta=None), cloud(d=2)
    ),
    "sinkhorn-flow": lambda: Case(
        fm.GradientFlow(fm.SinkhornDivergence(cloud(n=4, d=2, seed=1), 0.7)),
        cloud(n=5, d=2),
        lyapunov=fm.SinkhornDivergence(cloud(n=4, d=2, seed=1), 0.7),
    ),
    "sinkhorn-flow-gaussian": lambda: Case(
        fm.GradientFlow(fm.SinkhornDivergence(fm.Gaussian(jnp.ones(2), 0.3 * jnp.eye(2)), 0.7)),
        normal(),
        lyapunov=fm.SinkhornDivergence(fm.Gaussian(jnp.ones(2), 0.3 * jnp.eye(2)), 0.7),
    ),
    "svgd": lambda: Case(
        fm.GradientFlow(fm.KL(fm.Quadratic(1.2)), fm.Stein(fm.GaussianKernel(0.9))), cloud(n=5, d=2)
    ),
    "energy-distance-flow": lambda: Case(
        fm.GradientFlow(fm.MMD(cloud(n=4, d=2, seed=1), fm.EnergyDistance())),
        cloud(n=5, d=2),
        lyapunov=fm.MMD(cloud(n=4, d=2, seed=1), fm.EnergyDistance()),
    ),
    "slice-matching": lambda: Case(
        fm.SliceMatching(cloud(n=5, d=2, seed=1), fm.orthonormal_bases(jr.key(2), 3, 2), 0.05),
        cloud(n=5, d=2),
    ),
    "wasserstein-fisher-rao": lambda: Case(
        fm.GradientFlow(fm.PotentialEnergy(_bowl), fm.WassersteinFisherRao(0.8, 1.1)),
        cloud(n=5, d=2),
        lyapunov=fm.PotentialEnergy(_bowl),
        # Weights are integrated: their sum is kept to the order of the solver.
        conserves=False,
    ),
    "modified-equation": lambda: Case(
        fm.StochasticModifiedEquation(_square, regression(), 0.1, 1, 2), cloud(d=2), dt=0.02
    ),
    "modified-equation-gaussian": lambda: Case(
        fm.StochasticModifiedEquation(_square, regression(), 0.1, 2, 1, False),
        fm.Gaussian(jnp.ones(2), jnp.zeros((2, 2))),
        dt=None,
    ),
    "modified-flow": lambda: Case(
        fm.StochasticModifiedFlow(_square, regression(), 0.1, 1), cloud(d=2), dt=0.02
    ),
    "momentum-equation": lambda: Case(
        fm.MomentumModifiedEquation(_square, regression(), 0.1, 2, 0.6, 2, True),
        fm.Particles(fm.Phase(cloud(d=2).x, cloud(d=2, seed=1).x)),
        dt=0.02,
    ),
    "rmsprop-equation": lambda: Case(
        fm.RMSpropModifiedEquation(_square, regression(), 0.1, 2, 0.9, 0.1),
        fm.Particles(fm.Moments(cloud(d=2).x, (), 1 + cloud(d=2, seed=1).x ** 2)),
        dt=0.02,
    ),
    "adam-equation": lambda: Case(
        fm.AdamModifiedEquation(_square, regression(), 0.1, 2, 0.8, 0.9, 0.1, shared=True),
        fm.Particles(fm.Moments(cloud(d=2).x, cloud(d=2, seed=2).x, 1 + cloud(d=2, seed=1).x ** 2)),
        dt=0.02,
    ),
    "streaming-least-squares": lambda: Case(
        fm.StreamingLeastSquares(0.7, 0.3), fm.Particles((cloud(d=1).x[:, 0] ** 2, jnp.ones(7)))
    ),
    "shallow-network": lambda: Case(
        fm.ShallowNetwork(jnp.tanh, regression(), regularization=0.1),
        fm.Particles((cloud(d=2).x, cloud(d=1, seed=1).x[:, 0])),
        lyapunov=fm.ShallowNetwork(jnp.tanh, regression(), regularization=0.1).risk,
    ),
    "stochastic-mean-field": lambda: Case(
        fm.StochasticMeanField(fm.ShallowNetwork(jnp.tanh, regression()), 0.1),
        fm.Particles((cloud(d=2).x, cloud(d=1, seed=1).x[:, 0])),
        dt=0.02,
    ),
    "self-interacting-langevin": lambda: Case(
        fm.SelfInteractingLangevin(fm.PotentialEnergy(fm.Quadratic(1.3)), 0.5, 0.2),
        {"walkers": cloud(n=2, d=1), "past": fm.Gaussian(jnp.zeros(1), jnp.eye(1))},
        dt=0.02,
    ),
    "mean-field-langevin": lambda: Case(
        fm.MeanFieldLangevin(fm.PotentialEnergy(fm.Quadratic(1.3)), 0.5),
        normal(),
        dt=None,
        exact=_ou,
    ),
    "residual-network": lambda: Case(
        fm.ResidualNetwork(2, 3, 2, (regression()[0], regression()[1][:, None]), clip=0.5),
        fm.ResidualWeights(
            jnp.eye(2),
            cloud(2, 6).x.reshape(2, 3, 2),
            cloud(2, 6, 1).x.reshape(2, 3, 2),
            jnp.ones((2, 1)),
        ),
        lyapunov=fm.ResidualNetwork(2, 3, 2, (regression()[0], regression()[1][:, None])).risk,
    ),
    "residual-transformer": lambda: Case(
        _transformer(clip=0.5), _transformer().weights(jr.key(3)), lyapunov=_transformer().risk
    ),
    "natural-gradient": lambda: Case(
        fm.NaturalGradient(_bumps().embedding, _bumps().energy),
        (jnp.array([0.8, 0.5]), jnp.array([-1.0, 1.2])),
        lyapunov=_bumps().energy,
    ),
    "dirac-frenkel": lambda: Case(
        fm.DiracFrenkel(_bumps().embedding, _bumps().field, ridge=0.1),
        (jnp.array([0.8, 0.5]), jnp.array([-1.0, 1.2])),
    ),
    "multi-index": lambda: Case(
        fm.MultiIndexFlow((jnp.array([0.5, 0.0]), jnp.array([[0.3, 0.4], [0.4, -0.7]]))),
        fm.Particles(0.2 * jr.normal(jr.key(0), (3, 2, 2))),
    ),
    "controlled-flow": lambda: Case(
        fm.ControlledFlow(lambda x, w: jnp.tanh(w @ x), 0.5 * jnp.stack([ROTATION, -ROTATION])),
        cloud(),
    ),
    "interpolant-atoms": lambda: Case(
        fm.StochasticInterpolant(normal(), cloud(3, 2, 1), fm.LinearSchedule(0.6), diffusion=0.3),
        cloud(4, 2),
        dt=0.02,
    ),
    "log-likelihood": lambda: Case(
        fm.LogLikelihood(fm.ProbabilityFlow(lambda t, x: jnp.sin(x + t)), 0.7),
        fm.Particles((cloud(4, 2).x, jnp.zeros(4))),
    ),
    "mckean-pontryagin": lambda: Case(
        fm.McKeanPontryagin(jnp.array([[0.3, 0.1], [0.1, 0.2]]), jnp.eye(2)),
        fm.Particles(fm.Phase(cloud(5, 2).x, cloud(5, 2, 1).x)),
    ),
    "mckean-pontryagin-covariance": lambda: Case(
        fm.McKeanPontryagin("covariance", "covariance", lambda x: jnp.sin(x) - x),
        fm.Particles(fm.Phase(cloud(5, 2).x, 0.3 * cloud(5, 2, 1).x)),
    ),
    "mckean-pontryagin-fields": lambda: Case(
        fm.McKeanPontryagin(
            lambda x: jnp.diag(0.1 + 0.1 * jnp.sin(x) ** 2),
            jnp.eye(2),
            slope=lambda t, x: jnp.sin(x + t),
            score=lambda t, x: -x,
        ),
        fm.Particles(fm.Phase(cloud(5, 2).x, cloud(5, 2, 1).x)),
    ),
    "equilibrium-matching": lambda: Case(
        fm.EquilibriumMatching(
            fm.StochasticInterpolant(normal(), fm.Gaussian(jnp.ones(2), 0.3 * jnp.eye(2)))
        ),
        cloud(2, 2),
    ),
    "stopped-flow": lambda: Case(
        fm.StoppedFlow(fm.ProbabilityFlow(lambda t, x: jnp.sin(x + t)), lambda t, x: jnp.sum(x**2)),
        fm.Particles((cloud(4, 2).x, jnp.array([5.0, 6.0, 7.0, 8.0]))),
    ),
    "flow-map": lambda: Case(
        fm.FlowMap(lambda t, x, c: jnp.sin(x + t) * jnp.exp(-c), 0.2), cloud(4, 2)
    ),
    "poisson-flow": lambda: Case(fm.PoissonFlow(normal(), cloud(3, 2, 1)), cloud(4, 2)),
    "drifting": lambda: Case(fm.DriftingFlow(cloud(3, 2, 1), fm.GaussianKernel(0.8)), cloud(4, 2)),
    "blind-denoising": lambda: Case(
        fm.BlindDenoising(cloud(3, 2, 1), jnp.array([0.5, 1.0]), 0.2), cloud(4, 2), dt=0.02
    ),
    "conditional-flow": lambda: Case(
        fm.ConditionalFlow(lambda t, x, c: jnp.where(c == 1, -x, jnp.sin(x + t)), 1.5),
        fm.Particles((cloud(4, 2).x, jnp.array([0, 1, 1, -1]))),
    ),
    "guided-flow": lambda: Case(
        fm.GuidedFlow(
            fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), normal()).velocity,
            jnp.array([[1.0, 0.5]]),
            jnp.array([0.7]),
            jnp.array([[0.2]]),
        ),
        cloud(4, 2),
    ),
    "kac-flow": lambda: Case(fm.KacFlow(cloud(3, 1, 1), 2.0, 4.0), cloud(4, 1)),
    "least-squares-flow": lambda: Case(
        fm.LeastSquaresFlow(_path, lambda x: jnp.concatenate([x, x**2])), cloud(4, 2)
    ),
    "langevin": lambda: Case(fm.Langevin(fm.Quadratic(1.3), beta=2.0), cloud(n=5, d=2)),
    "underdamped-langevin": lambda: Case(
        fm.UnderdampedLangevin(fm.Quadratic(1.3), friction=0.7, beta=2.0),
        fm.Particles(fm.Phase(jr.normal(jr.key(0), (5, 2)), jr.normal(jr.key(1), (5, 2)))),
    ),
    "stochastic-localization": lambda: Case(
        fm.StochasticLocalization(cloud(3, 2, 1)), cloud(4, 2), ts=(0.2, 0.3), dt=0.02
    ),
    "follmer-process": lambda: Case(
        fm.FollmerProcess(
            fm.Particles((cloud(2, 2, 1).x, jnp.stack([0.3 * jnp.eye(2), normal().cov])))
        ),
        cloud(4, 2),
        dt=0.02,
    ),
    "dean-kawasaki": lambda: Case(
        fm.DeanKawasaki(fm.McKeanVlasov(fm.Quadratic(0.5), fm.QuadraticKernel(0.7), 1.5), 60.0),
        _film(),
    ),
    "fleming-viot": lambda: Case(
        fm.FlemingViot(ROTATION**2, 0.7),
        fm.Particles(jax.nn.softmax(cloud(n=4).x), space=fm.Simplex()),
        dt=0.01,
    ),
    "massive-arratia": lambda: Case(fm.MassiveArratia(0.3), cloud(5, 1)),
    "excluding-particles": lambda: Case(
        fm.ExcludingParticles(0.3, 0.2, _bowl), cloud(4, 2), dt=0.01, splits=False
    ),
    "cross-diffusion": lambda: Case(
        fm.CrossDiffusion(
            {"a": 0.2, "b": 0.1}, {"a": 3, "b": 8.0}, {"a": 0.1, "b": 0.2}, dimension=2
        ),
        {
            "a": fm.GridDensity(_film().rho / 6, 0.0, 6.0, True),
            "b": fm.GridDensity(_film().rho[::-1] / 6, 0.0, 6.0, True),
        },
    ),
    "score-porous-medium": lambda: Case(
        fm.ScorePorousMedium(1.5, fm.GaussianKernel(0.8)), cloud(5, 2)
    ),
    "accelerated-flow-of-masses": lambda: Case(
        fm.AcceleratedFlow(
            fm.PotentialEnergy(_bowl), lambda t: 0.5 + t, fm.WassersteinFisherRao(0.7, 1.3)
        ),
        fm.Particles(fm.Phase(cloud(5, 2).x, (cloud(5, 2, 1).x, cloud(5, 1, 2).x[:, 0]))),
        conserves=False,
    ),
    "accelerated-stein": lambda: Case(
        fm.AcceleratedFlow(fm.PotentialEnergy(_bowl), 0.5, fm.Stein(fm.GaussianKernel(0.9))),
        fm.Particles(fm.Phase(cloud(5, 2).x, cloud(5, 2, 1).x)),
    ),
    "lindblad": lambda: Case(
        fm.Lindblad(ROTATION + ROTATION.T, [ROTATION, 1j * np.tri(3)], [0.5, 0.2]),
        jnp.array([[0.5, 0.1j, 0.0], [-0.1j, 0.3, 0.0], [0.0, 0.0, 0.2]]),
    ),
    "polyhedral-mean-field": lambda: Case(
        fm.PolyhedralMeanField(fm.Quadratic(jnp.array([[1.5, 0.4], [0.4, 0.8]])), count=32),
        fm.MonotoneMap([0.3, -0.2], [[1.0, 0.5, 2.0], [0.3, 0.7, 0.9]], (-0.5, 0.8)),
    ),
    "parabolic-monge-ampere": lambda: Case(
        fm.ParabolicMongeAmpere(
            lambda x: jnp.sum(jnp.sin(2 * jnp.pi * x)), lambda x: jnp.sum(jnp.cos(2 * jnp.pi * x))
        ),
        0.01 * jnp.cos(2 * jnp.pi * jnp.arange(8.0) / 8),
        ts=(0.0, 0.001, 0.002),
        dt=0.0005,
    ),
    "accelerated-flow": lambda: Case(
        fm.AcceleratedFlow(fm.KL(fm.Quadratic(1.3), fm.GaussianKernel(0.7)), 0.8),
        fm.Particles(fm.Phase(cloud(5, 2).x, cloud(5, 2, 1).x)),
    ),
    "independent-projection": lambda: Case(
        fm.IndependentProjection(fm.Quadratic(ROTATION + ROTATION.T)), cloud(n=5)
    ),
    "jarzynski": lambda: Case(
        fm.Jarzynski(lambda t, x: (1 + t) * jnp.sum((x - t) ** 2), 1.3),
        cloud(n=5, d=2),
        dt=0.02,
        conserves=False,
    ),
    "energy-based-model": lambda: Case(
        fm.EnergyBasedModel(
            lambda theta, x: theta[0] * jnp.sum(x**2) + jnp.sum(jnp.cos(x - theta[1])), cloud(4, 2)
        ),
        {
            "parameters": fm.Particles(jnp.array([[1.0, 0.3]])),
            "walkers": fm.Particles(cloud(5, 2, 1).x, jnp.full(5, -jnp.log(5.0))),
        },
        dt=0.02,
        conserves=False,
    ),
    "hellinger-kantorovich-brownian": lambda: Case(
        fm.HellingerKantorovichBrownian(0.3, 0.5, 0.8),
        fm.Particles(fm.Atom(cloud(5, 2).x, 1 + cloud(5, 1, 1).x[:, 0] ** 2)),
        dt=0.02,
        splits=False,
    ),
    "game": lambda: Case(
        fm.Game(
            {
                "x": lambda mu: fm.PotentialEnergy(lambda x: _bowl(x - mu["y"].mean())),
                "y": lambda mu: fm.MMD(mu["x"], fm.GaussianKernel(0.9)),
            }
        ),
        {"x": cloud(4, 2), "y": cloud(5, 2, 1)},
    ),
    "game-of-two-metrics": lambda: Case(
        fm.Game(
            {
                "x": lambda mu: fm.PotentialEnergy(lambda x: _bowl(x - mu["y"].mean())),
                "y": lambda mu: fm.PotentialEnergy(lambda y: -_bowl(y - mu["x"].mean())),
            },
            {"x": fm.Wasserstein(), "y": fm.FisherRao()},
        ),
        {"x": cloud(4, 2), "y": fm.Particles(cloud(5, 2, 1).x, jnp.full(5, -jnp.log(5.0)))},
        conserves=False,
    ),
    "localized-attraction": lambda: Case(
        fm.LocalizedAttraction(1.0, 1.0), cloud(n=6, d=1, space=fm.Torus()).retract(), dt=0.01
    ),
    "swarming": lambda: Case(
        fm.Swarming(),
        fm.Particles(fm.Phase(jr.normal(jr.key(0), (5, 2)), jr.normal(jr.key(1), (5, 2)))),
    ),
    "radial-interaction": lambda: Case(
        fm.RadialInteraction(fm.PiecewiseLinear(jnp.linspace(0.0, 4.0, 5), jnp.arange(5.0) - 1)),
        cloud(n=6, d=2),
    ),
    "thin-film": lambda: Case(
        fm.ThinFilm(),
        _film(),
        dt=0.02,
        lyapunov=fm.ThinFilm().energy,
    ),
    "thin-film-noise": lambda: Case(fm.ThinFilm(50.0), _film(), dt=0.02),
    "laplace-learning": lambda: Case(
        fm.LaplaceLearning(_graph(6), jnp.arange(6) == 2, exponent=2.5, scale=0.8),
        cloud(n=6, d=2),
        lyapunov=fm.LaplaceLearning(_graph(6), exponent=2.5, scale=0.8).energy,
        exchangeable=False,
        splits=False,
    ),
    "magnetic-geodesic": lambda: Case(
        fm.MagneticGeodesic(0.8),
        fm.Particles(
            fm.Phase(tokens(n=4).x, cloud(n=4, seed=1).x), space=fm.PhaseSpace(fm.Sphere())
        ).retract(),
    ),
    "epdiff": lambda: Case(
        fm.EPDiff(fm.GaussianKernel(0.9)),
        fm.Particles(fm.Phase(cloud(n=4, d=2).x, cloud(n=4, d=2, seed=1).x)),
    ),
    "euler-arnold": lambda: Case(
        fm.EulerArnold(1.0, 0.5, dispersion=0.1, drift=0.2),
        jnp.sin(jnp.pi * jnp.arange(8.0) / 4),
    ),
    "contractive-flow": lambda: Case(
        fm.ContractiveFlow(cloud(8, 3).x.reshape(2, 4, 3), cloud(2, 4, 1).x, jnp.tanh),
        cloud(),
        lyapunov=lambda mu: jnp.sum((mu.x[0] - mu.x[1]) ** 2),
    ),
    "unconstrained-features": lambda: Case(
        fm.UnconstrainedFeatures(3, 2, 0.1, 0.2, "cross_entropy"),
        (cloud(3, 4).x, cloud(4, 6, 1).x, jnp.array([0.1, -0.2, 0.3])),
        lyapunov=fm.UnconstrainedFeatures(3, 2, 0.1, 0.2, "cross_entropy").energy,
    ),
    "generic": lambda: Case(
        fm.Generic(_heat_energy, lambda x: x[2], TURN, _heat_friction), jnp.array([1.0, 0.5, 0.2])
    ),
    "kinetic-flow": lambda: Case(
        fm.KineticFlow(_bowl, fm.KernelEntropy(fm.GaussianKernel(0.9)), 0.7), cloud(5, 2)
    ),
    "euler-2d": lambda: Case(
        fm.Euler2D(0.1, 0.3, 0.2, length=jnp.array([2.0, 3.0])),
        jr.normal(jr.key(0), (6, 8)),
    ),
    "infinite-conductivity": lambda: Case(
        fm.InfiniteConductivity(jnp.array([0.3, 0.0, 2.0])), jr.normal(jr.key(0), (3, 4, 4, 4))
    ),
    "magnetic-epdiff": lambda: Case(
        fm.MagneticEPDiff(jnp.array([0.3, 0.1]), 0.8, 1.5), jr.normal(jr.key(0), (2, 6, 6))
    ),
    "hunter-saxton": lambda: Case(
        fm.TwoComponentHunterSaxton(0.7, 2 * np.pi), jr.normal(jr.key(0), (2, 8))
    ),
    "quasi-geostrophic": lambda: Case(fm.QuasiGeostrophic(1.3, 3.0), jr.normal(jr.key(0), (4, 8))),
    "euler-lagrange": lambda: Case(
        fm.EulerLagrange(
            lambda q, v: (1 + q[0] ** 2) * jnp.sum(v**2) / 2 - jnp.sum(jnp.sin(q)),
            lambda q, v: -0.3 * v,
        ),
        fm.Particles(fm.Phase(cloud(n=4, d=2).x, cloud(n=4, d=2, seed=1).x)),
    ),
    "simplex-flow": lambda: Case(
        fm.SimplexFlow(fm.ProbabilityManifold(0.1 * _graph(3), jnp.array([0.2, 0.5, 0.3]))),
        fm.Particles(jax.nn.softmax(cloud(n=4).x), space=fm.Simplex()),
        lyapunov=lambda mu: mu.mean(lambda p: jnp.sum(p * jnp.log(p / jnp.array([0.2, 0.5, 0.3])))),
    ),
}
