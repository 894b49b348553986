"""Energies, distances, methods and runs of particles spread over devices: those of one device."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_measures as fm
from flowjax_measures.energies import _entropic_cost

N, D = 16, 3
X = jr.normal(jr.key(0), (N, D))
Y = jr.normal(jr.key(1), (N, D)) + 0.5
KERNEL = fm.GaussianKernel(1.0)
DIRECTIONS = jr.normal(jr.key(4), (4, D))
DIRECTIONS = DIRECTIONS / jnp.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
SPREAD = NamedSharding(Mesh(np.array(jax.devices()), ("particles",)), PartitionSpec("particles"))


def well(x):
    return jnp.sum(x**2) / 2


def velocity(system, x, sharding):
    """What a system, or one made from the sharding, does to the particles."""
    law = system if isinstance(system, fm.AbstractSystem) else system(sharding)
    return jnp.concatenate(
        jax.tree.leaves(law(0.0, fm.Particles(x, sharding=sharding)).drift.x), -1
    )


def end(system, x, sharding):
    """The particles after two steps."""
    mu = fm.Particles(x, sharding=sharding)
    return fm.simulate(system, mu, [0.0, 0.1], dt=0.05, throw=False, key=jr.key(2)).final.x


class Slopes(fm.AbstractMeanField):
    """Derivatives of means inside of a law, in the target and in the function."""

    def rates(self, t, x, mu):
        outside = jax.grad(lambda x: mu.logmean(lambda y: -jnp.sum((x - y) ** 2)))(x)
        inside = mu.mean(lambda y: jax.grad(KERNEL)(x, y))
        return fm.Rates(outside + inside)


def flow(energy):
    return lambda x, s: velocity(lambda s: fm.GradientFlow(energy(s)), x, s)


def target(s, y=Y):
    return fm.Particles(y, sharding=s)


FUNCTIONS = {
    "mmd flow": flow(lambda s: fm.MMD(target(s), KERNEL)),
    "mmd flow to a target that is whole": flow(lambda s: fm.MMD(fm.Particles(Y), KERNEL)),
    "interaction flow": flow(lambda s: fm.InteractionEnergy(KERNEL)),
    "kernel entropy flow": flow(lambda s: fm.KernelEntropy(KERNEL)),
    "energy distance flow": flow(lambda s: fm.MMD(target(s), fm.EnergyDistance())),
    "energy distance on a line": lambda x, s: velocity(
        lambda s: fm.GradientFlow(fm.MMD(target(s, Y[:, :1]), fm.EnergyDistance())), x[:, :1], s
    ),
    "sliced flow": flow(lambda s: fm.MMD(target(s), fm.SlicedEnergyDistance(DIRECTIONS))),
    "sinkhorn flow": flow(lambda s: fm.SinkhornDivergence(target(s), 0.5)),
    "accelerated flow": lambda x, s: velocity(
        lambda s: fm.AcceleratedFlow(fm.MMD(target(s), KERNEL)), fm.Phase(x, 0 * x), s
    ),
    "mckean-vlasov": lambda x, s: end(fm.McKeanVlasov(well, KERNEL, beta=2.0), x, s),
    "slopes in a law": lambda x, s: velocity(Slopes(), x, s),
    "mmd": lambda x, s: fm.mmd(target(s, x), target(s), KERNEL),
    "kernel entropy": lambda x, s: fm.KernelEntropy(KERNEL)(target(s, x)),
    "energy distance": lambda x, s: fm.energy_distance(target(s, x), target(s)),
    "sliced wasserstein": lambda x, s: fm.sliced_wasserstein(
        target(s, x), target(s), DIRECTIONS
    ),
    "wasserstein on a line": lambda x, s: fm.wasserstein(
        target(s, x[:, :1]), target(s, Y[:, :1])
    ),
    "sinkhorn divergence": lambda x, s: fm.sinkhorn_divergence(target(s, x), target(s), 0.5),
    "stein discrepancy": lambda x, s: fm.ksd(target(s, x), lambda x: -well(x), KERNEL),
}  # fmt: skip
# Means of means in a law, potentials, and what sorts; all else goes round the ring.
GATHER = (
    "kernel entropy flow", "sinkhorn flow", "sinkhorn divergence", "sliced wasserstein",
    "wasserstein on a line",
)  # fmt: skip
FAST = ("mmd flow", "sliced wasserstein")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in FUNCTIONS]
)
def test_values_and_gradients_are_those_of_one_device(name):
    def both(sharding):
        def number(x):
            value = FUNCTIONS[name](x, sharding)
            return jnp.sum(jnp.sin(value)), value

        return jax.jit(jax.value_and_grad(number, has_aux=True))

    start = jax.device_put(X, SPREAD)
    program = both(SPREAD).lower(start).compile()
    assert ("all-gather" in program.as_text()) == (name in GATHER)
    apart = program(start)
    for a, b in zip(jax.tree.leaves(apart), jax.tree.leaves(both(None)(X)), strict=True):
        # On a line |x − y| has no second derivative but round-off over |x − y|.
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 if "line" in name else 1e-12)


@pytest.mark.slow
def test_potentials_of_many_atoms_go_round_the_ring(monkeypatch):
    """Numbers of the atoms are gathered, to draw where Newton's method begins; no points are."""
    monkeypatch.setattr(_entropic_cost, "LARGEST", 0)
    jax.clear_caches()  # What was traced with another bound.
    both = lambda s: jax.jit(  # noqa: E731
        jax.value_and_grad(lambda x: fm.sinkhorn_divergence(target(s, x), target(s), 0.5))
    )
    start = jax.device_put(X, SPREAD)
    program = both(SPREAD).lower(start).compile()
    gathered = re.findall(r"= (\S+) all-gather(?:-start)?\(", program.as_text())
    assert all(re.match(rf"\(?\w+\[{N}\]", shape) for shape in gathered)
    for a, b in zip(program(start), both(None)(X), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def minimized(s):
    return fm.minimize(
        lambda x: jnp.sum((x - 1) ** 2), target(s, X), key=jr.key(0), budget=20 * N
    ).x


def sampled(s):
    return fm.sample(lambda x: jnp.sum((x - 1) ** 2) / 2, target(s, X), key=jr.key(0), steps=5).x


class Decay(fm.AbstractMeanField):
    rate: float = 0.5

    def rates(self, t, x, mu):
        return fm.Rates(-self.rate * x)


def fitted(s):
    data = ([0.0, 0.2], [target(s, X), target(s, 0.8 * X)])
    return fm.fit(Decay(), data, steps=5, dt=0.1, identifiability=False).system.rate


def swept(s, shape=(2, 2)):
    """Runs over one axis of a mesh, the particles of each over the other."""
    mesh = Mesh(np.array(jax.devices()).reshape(shape), ("runs", "particles"))
    runs = None if s is None else NamedSharding(mesh, PartitionSpec("runs"))
    within = None if s is None else NamedSharding(mesh, PartitionSpec("particles"))

    def spread_of(p, key):
        mu = target(within, jr.normal(key, (N, D)))
        law = fm.SelfAttention(beta=p["beta"])
        return fm.simulate(law, mu, [0.0, 0.1], dt=0.05, throw=False).final.covariance()

    return fm.sweep(spread_of, {"beta": [1.0, 2.0]}, seeds=2, sharding=runs).values


def swept_alone(s):
    """Every run whole on its device."""
    return swept(s, (4, 1))


@pytest.mark.slow
@pytest.mark.parametrize("method", [minimized, sampled, fitted, swept, swept_alone])
def test_methods_take_particles_over_devices(method):
    np.testing.assert_allclose(method(SPREAD), method(None), rtol=1e-10, atol=1e-12)


def test_the_kernel_of_slices_is_still_at_a_point():
    """|s| has the derivative 1 at 0 in JAX: each particle pushed itself along all directions."""
    kernel = fm.SlicedEnergyDistance(DIRECTIONS)
    np.testing.assert_array_equal(jax.grad(kernel)(X[0], X[0]), np.zeros(D))


@pytest.mark.slow
def test_what_a_device_sends_and_takes():
    """All sources once around the ring; n²/4 exponentials, and those of rescaled sums."""
    path = Path(__file__).parent.parent / "benchmarks" / "collectives.py"
    spec = importlib.util.spec_from_file_location("collectives", path)
    assert spec is not None and spec.loader is not None
    collectives = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(collectives)
    n, sent = 64, 64 * 3 * 4
    rows = {(row["system"], row["kind"]): row for row in collectives.rows([(4, n)])}
    for key, trips in {
        ("attention", "velocity"): 1, ("attention", "gradient"): 3,
        ("mmd flow", "velocity"): 2, ("mmd flow", "gradient"): 5,
    }.items():  # fmt: skip
        assert rows[key]["collective-permute"] == trips * sent
        assert rows[key]["all-gather"] == 0
    assert n**2 / 4 <= rows["attention", "velocity"]["exponential"] <= n**2 / 4 + 4 * n
