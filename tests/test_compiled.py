"""A changed value compiles nothing: counted by JAX itself."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from catalogue import cloud
from counting import compilations

import flowjax_measures as fm

POTENTIAL = lambda x: jnp.sum(x**2) / 2  # noqa: E731
FLOW = fm.GradientFlow(fm.MMD(cloud(4, 2), fm.GaussianKernel(1.0)))


class Pull(fm.AbstractMeanField):
    rate: fm._custom_types.FloatScalar = 1.0

    def rates(self, t, x, mu):
        return fm.Rates(-self.rate * x, fm.Isotropic(0.1))


class Quiet(fm.AbstractMeanField):
    def rates(self, t, x, mu):
        return fm.Rates(mu.mean() - x)


def run(system=Quiet(), ts=(0.0, 1.0), **options):
    return fm.simulate(system, cloud(), ts, **{"dt": 0.125, "key": jr.key(0)} | options)


def adaptive(rtol=1e-4, **options):
    controller = diffrax.PIDController(rtol=rtol, atol=1e-6)
    return run(dt=None, stepsize_controller=controller, **options)


def jko(tau):
    flow = fm.GradientFlow(fm.PotentialEnergy(POTENTIAL))
    return fm.simulate(flow, cloud(), [0.0, tau], solver=fm.JKO(tau))


def moved(shift):
    return fm.Particles(cloud().x + shift)


def fit(shift):
    data = [0.0, 0.5], [cloud(), moved(shift)]
    return fm.fit(Pull(1.0), data, steps=3, dt=0.125, key=jr.key(0), identifiability=False).losses


def kalman_filter(inflation, shift):
    seen, cov = shift * jnp.ones((2, 1)), jnp.eye(1)
    return fm.kalman_filter(
        halved, first, cloud(), seen, cov, key=jr.key(0), inflation=inflation
    ).mean


def halved(x):
    return x / 2


def first(x):
    return x[:1]


def sample(alpha, dt, steps):
    start = fm.Particles(jr.normal(jr.key(0), (8, 2)))
    return fm.sample(POTENTIAL, start, key=jr.key(1), alpha=alpha, dt=dt, steps=steps).x


def regress(shift):
    snapshots = [moved(shift * t) for t in (0.0, 1.0, 2.0)]
    return fm.regress(Pull(1.0), ([0.0, 0.5, 1.0], snapshots)).system.rate


def couple(shift):
    return fm.couple([0.0, 0.5], [cloud(), moved(shift)], epsilon=0.5)


DOORS = {
    "later times": (run, dict(ts=[0.0, 1.0, 2.0]), dict(ts=np.array([2.0, 3.0, 4.0]))),
    "another step": (run, dict(dt=0.125), dict(ts=[0.0, 2.0], dt=0.25)),
    "a whole number for a field": (
        lambda rate: run(Pull(rate)), dict(rate=1.5), dict(rate=2),
    ),
    "a NumPy number for a field": (
        lambda rate: run(Pull(rate)), dict(rate=1.5), dict(rate=np.float32(3)),
    ),
    "adaptive, later": (adaptive, dict(ts=[0.0, 1.0]), dict(ts=[3.0, 4.5])),
    "adaptive, tolerance": (adaptive, dict(rtol=1e-4), dict(rtol=1e-3)),
    "the step of a scheme": (jko, dict(tau=0.1), dict(tau=0.2)),
    "a key": (lambda key: run(Pull(1.0), key=key), dict(key=jr.key(0)), dict(key=jr.key(1))),
    "data of a fit": (fit, dict(shift=0.5), dict(shift=0.7)),
    "data of a filter, its inflation": (
        kalman_filter, dict(inflation=1.0, shift=0.5), dict(inflation=1.1, shift=0.7),
    ),
    "a sampler": (sample, dict(alpha=1.0, dt=0.1, steps=5), dict(alpha=2.0, dt=0.2, steps=7)),
    "data of a regression": (regress, dict(shift=0.5), dict(shift=0.7)),
    "snapshots that are coupled": (couple, dict(shift=0.5), dict(shift=0.7)),
}  # fmt: skip


@pytest.mark.parametrize("name", DOORS)
def test_a_changed_value_compiles_nothing(name):
    door, first, second = DOORS[name]
    jax.block_until_ready(door(**first))
    with compilations() as found:
        jax.block_until_ready(door(**second))
    assert not found
