"""What the names of a reader's own stand for in the examples of docstrings.

Code, after that of `context` in test_docstrings.py: for all of them, then for one by its name.
"""

SHARED = """
ts, dt, tau, eta, gamma, beta, sigma, theta = [0.0, 0.1], 0.05, 0.05, 0.05, 1.0, 1.0, 0.5, x
V = potential = F = lambda x: jnp.sum(x**2) / 2
m, n, cov, eye, S, I = jnp.zeros(2), jnp.ones(2), jnp.eye(2) / 4, jnp.eye(2), jnp.eye(2), jnp.eye(2)
other_key = other = jr.key(7)
noise, cells, y, zeros = fm.initial.normal(jr.key(2), 8, 2), [mu, nu], nu.x, jnp.zeros(8)
flow = fm.StochasticInterpolant(ball, fm.Gaussian(jnp.ones(2), jnp.eye(2) / 4))
kernel, system, source, prior = fm.GaussianKernel(1.0), fm.SelfAttention(beta=1.0), ball, mu
clusters = fm.initial.uniform_on_sphere(key, 3, 2)
simulator = objective = rastrigin = f
held_out, generated = jr.normal(jr.key(3), (40, 2)), jr.normal(jr.key(4), (40, 2))
"""

_CRITIC = "U = lambda theta, x: jnp.vdot(theta, x) + jnp.sum(x**2) / 2"
_MODEL = """
import numpy, tempfile
sizes = dict(wte=(4000, 24), wpe=(8, 24))
for name in ("ln_1", "ln_2"):
    sizes |= {f"h.0.{name}.{part}": (24,) for part in ("weight", "bias")}
for name, (rows, columns) in {
    "attn.c_attn": (24, 72), "attn.c_proj": (24, 24), "mlp.c_fc": (24, 96), "mlp.c_proj": (96, 24)
}.items():
    sizes |= {f"h.0.{name}.weight": (rows, columns), f"h.0.{name}.bias": (columns,)}
sizes |= {"wte.weight": sizes.pop("wte"), "wpe.weight": sizes.pop("wpe")}
sizes |= {f"ln_f.{part}": (24,) for part in ("weight", "bias")}
path = tempfile.mkdtemp() + "/model.npz"
numpy.savez(path, **{n: numpy.full(s, 0.1, "float32") for n, s in sizes.items()})
"""
_TABLE = "import pandas; frame = pandas.DataFrame(dict(day=[0, 0, 1, 1], x=[0.0, 1, 2, 3], y=1.0))"

OF = {
    "AskTell": '',
    "Bures": "m, cov = jnp.zeros((3, 2)), jnp.stack([jnp.eye(2)] * 3)",
    "ConditionalFlow": "v, noise, labels = (lambda t, x, c: -x), noise.x, jnp.arange(8)",
    "ConstrainedEuler": "g = lambda x: jnp.sum(x**2) - 1",
    "DeanKawasaki": "V, rho = (lambda x: jnp.cos(2 * jnp.pi * x[0])), jnp.ones(8)",
    "DiscreteGradient": """
heat = lambda z: jnp.outer(z, z)
law = fm.Generic(
    lambda z: jnp.sum(z[:2] ** 2) / 2 + z[2],
    lambda z: z[2],
    jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    lambda z: jnp.outer(*[jnp.array([0.0, 1.0, -z[1]])] * 2),
)
state = jnp.array([1.0, 0.5, 0.2])""",
    "EnergyBasedModel": f"{_CRITIC}; theta, data, x = jnp.ones(2), mu, mu.x",
    "FlowMap": 'average, start = (lambda t, x, c: -x), mu',
    "Functional": "unit, y = (lambda p: jnp.tanh(p @ jnp.ones((2, 5)))), jnp.ones(5)",
    "GeodesicEuler": "x = tokens.x",
    "GuidedFlow": "A, R, y, noise = jnp.ones((1, 2)), 0.1 * jnp.eye(1), jnp.ones(1), noise.x",
    "InCoordinates": "angles = 2 * jnp.pi * (jnp.arange(16) + 0.5) / 16",
    "JKO": 'energy = fm.PotentialEnergy(V)',
    "LeastSquaresFlow": "potentials = lambda x: jnp.array([x[0], x[1], x[0] ** 2])",
    "LogLikelihood": "data = mu.x",
    "LogTime": """
from diffrax import Kvaerno5
clusters = fm.Particles(jnp.array([[1.0, 0.0], [-1.0, 0.0]]), space=fm.Sphere())""",
    "McKeanVlasov": "theta = 1.0",
    "MinimizingMovement": """
flow = fm.NaturalGradient(lambda theta: jnp.sin(theta), lambda theta: jnp.sum(theta**2))""",
    "MirrorDescent": 'F, u = fm.PotentialEnergy(V), lambda x: jnp.sum(x**4 + x**2)',
    "OneSweep": "h = 0.05",
    "PositiveImplicitEuler": "drop = fm.GridDensity(jnp.linspace(1.0, 2.0, 8), 0.0, 1.0, True)",
    "PreconditionedDenoiser": "denoiser = fm.PreconditionedDenoiser(fm.MLP(2, key=key), 1.0)",
    "PredictorCorrector": "b, s = (lambda t, x: -x), lambda t, x: -x",
    "Restart": 'F = fm.PotentialEnergy(V); mu = fm.Particles(fm.Phase(mu.x, 0 * mu.x))',
    "SemiImplicitEuler": 'm, mu = 0.5, fm.Particles(fm.Phase(mu.x, 0 * mu.x))',
    "ShallowNetwork": 'neurons = fm.Particles((mu.x, nu.x[:, 0]))',
    "SinkhornIterations": 'f = g = lambda x: jnp.cos(2 * jnp.pi * x[0]); psi = jnp.zeros(16)',
    "SliceMatching": 'bases = jnp.broadcast_to(jnp.eye(2), (100, 2, 2))',
    "Stiff": 'reaction, diffusion = fm.MeanShift(), fm.Custom(lambda t, x, mu: fm.Rates(-x))',
    "StochasticBures": "gaussian = ball",
    "StoppedFlow": "a, b = jr.split(key); matching = fm.EquilibriumMatching(flow)",
    "Strang": "a, b = fm.MeanShift(), fm.SelfAttention(beta=1.0)",
    "Transformer": _MODEL,
    "VariationalMovement": """
near = lambda other: lambda mu: fm.PotentialEnergy(lambda x: jnp.sum((x - mu[other].mean()) ** 2))
costs = {"a": near("b"), "b": near("a")}
state = {"a": mu, "b": nu}""",
    "barycenter": "a, b = jnp.eye(2), cov",
    "bridge_cost": "a, b = jnp.eye(2), cov",
    "blow_up_time": "β = 1.0",
    "collective_diffusion": """
wave = 0.3 * jnp.cos(2 * jnp.pi * jnp.arange(12) / 12)
c, d = (fm.GridDensity(0.5 + s * wave, 0.0, 1.0, True) for s in (1, -1))""",
    "contraction": "theta = jnp.ones(2)",
    "couple": "ts = [0.0, 1.0]",
    "energy_distance": "x = mu.x",
    "entropic_map": "new_points = nu.x",
    "fit": "clouds = [mu, nu]",
    "flow_matching_loss": "from flowjax_measures import *; a, b = jr.split(key)",
    "from_anndata": """
import pandas, types
cells = types.SimpleNamespace(
    X=None, obs=pandas.DataFrame(dict(day=[0, 0, 1, 1])), obsm=dict(X_pca=np.ones((4, 2)))
)""",
    "from_table": _TABLE,
    "gradient_spread": "consensus_of_a_run = lambda sigma, key: sigma * jr.normal(key, (2,))",
    "gromov_wasserstein": "x, rotation = mu.x, jnp.array([[0.0, 1.0], [-1.0, 0.0]])",
    "jarzynski_loss": "import equinox; energy, data, walkers = fm.Quadratic(jnp.ones(2)), mu, nu",
    "kalman_filter": "M, x, data = (lambda x: 0.9 * x), mu.x, jnp.ones((4, 1))",
    "kalman_inversion": "G, y = (lambda x: x[:1]), jnp.ones(1)",
    "karhunen_loeve": "points = jnp.linspace(0, 1, 30)[:, None]",
    "learn_energy": 'U, x, walkers = fm.Quadratic(jnp.ones(2)), mu.x, nu',
    "linear_posterior": "prior, y = ball, jnp.ones(1)",
    "log_likelihood": "data = mu.x",
    "median": "nu_1, nu_2, outlier = mu, nu, fm.Particles(nu.x + 30)",
    "minibatch": "params = jnp.ones((1, 2))",
    "neural_collapse": """
law = fm.UnconstrainedFeatures(2, 4)
H, W = jnp.ones((3, 8)), jnp.ones((2, 3))""",
    "pontryagin": """
controls = dict(v=jnp.stack([jnp.eye(3)] * 4), a=jnp.stack([jnp.eye(3)] * 4))
loss = lambda x: jnp.sum(x**2)""",
    "profile": "data, system = (ts, cells), fm.SelfAttention(beta=1.0, value=jnp.eye(2))",
    "random_fields": "one = jnp.ones(32)",
    "read_transformer": _MODEL,
    "regress": "snapshots, velocities = [mu, nu], [mu.x, nu.x]",
    "scipy_method": "import scipy; x0, b = np.ones(2), [(-2, 2)] * 2",
    "thresholded_covariance": "fields = jr.normal(key, (20, 5))",
    "wasserstein": "x, y = mu.x, nu.x",
    "AndersonMixing": 'flow = fm.GradientFlow(fm.PotentialEnergy(V))',
    "AnnealedImportance": 'V = lambda t, x: jnp.sum((x - t) ** 2) / 2',
    "EpochBatches": 'mu = fm.initial.normal(key, 100, 2)',
    "LangevinSplitting": 'mu = fm.Particles(fm.Phase(mu.x, nu.x))',
    "ScoreError": 'flow = fm.ProbabilityFlow(lambda t, x: -x, lambda t, x: -x, 0.5)',
    "simulate_resumable": 'system = fm.MeanShift()',
}  # fmt: skip
