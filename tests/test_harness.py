"""A harness that cannot fail shows nothing: deliberately wrong systems must violate it."""

from pathlib import Path

import equinox as eqx
import harness
import jax
import jax.numpy as jnp
import numpy as np
from catalogue import Case, cloud, normal, tokens
from shares import SHARES

import flowjax_measures as fm


@jax.custom_jvp
def _double(x):
    return 2.0 * x


@_double.defjvp
def _double_jvp(primals, tangents):
    return 2.0 * primals[0], 2.1 * tangents[0]


class WrongDerivative(fm.AbstractMeanField):
    rate: float = 0.7

    def rates(self, t, x, mu):
        return fm.Rates(_double(self.rate) * (mu.mean() - x))


class WrongWeights(fm.AbstractMeanField):
    """Counts atoms where it should weigh them."""

    def rates(self, t, x, mu):
        points, _ = mu.atoms()
        return fm.Rates(jnp.mean(points, 0) - x)


class WrongOrder(fm.AbstractMeanField):
    """Looks at the first atom."""

    def rates(self, t, x, mu):
        return fm.Rates(mu.atoms()[0][0] - x)


class Climbs(fm.AbstractMeanField):
    def rates(self, t, x, mu):
        return fm.Rates(x)


def test_wrong_derivative_is_caught():
    forward, central, fields = harness.derivatives(Case(WrongDerivative(), cloud()))
    assert fields == 1 and forward < 1e-6 and central > 1e-3


def test_wrong_weights_and_order_are_caught():
    assert harness.splitting(Case(WrongWeights(), cloud())) > 1e-3
    assert harness.permutation(Case(WrongOrder(), cloud())) > 1e-3


def test_rising_energy_is_caught():
    case = Case(Climbs(), cloud(), lyapunov=lambda mu: jnp.trace(mu.covariance()))
    assert harness.energy_increase(case) > 1e-3


def test_wrong_solution_is_caught():
    case = Case(
        fm.McKeanVlasov(fm.Quadratic(1.0), beta=2.0), normal(), dt=None,
        exact=lambda t: (normal().m, normal().cov),
    )  # fmt: skip
    assert harness.distance_to_exact(case) > 1e-3


def test_leaving_the_space_is_caught():
    class NoSphere(fm.Sphere):
        def nearest(self, x):
            return x * 1.001

    mu = fm.Particles(tokens().x, space=NoSphere())
    assert harness.leaves_space(harness.run(Case(fm.SelfAttention(), mu)).final) > 1e-4


def test_lost_mass_is_caught():
    class Leak(fm.AbstractMeanField):
        def rates(self, t, x, mu):
            return fm.Rates(0 * x, growth=-jnp.ones(()))

    case = Case(Leak(), cloud())
    lost = harness.mass_change(case, harness.run(case).final)
    np.testing.assert_allclose(lost, 1 - np.exp(-0.2))


def test_two_fields_are_counted():
    class Two(fm.AbstractMeanField):
        a: float = 1.0
        b: jax.Array = eqx.field(default_factory=lambda: jnp.ones(3))

        def rates(self, t, x, mu):
            return fm.Rates(-self.a * self.b * x)

    forward, central, fields = harness.derivatives(Case(Two(), cloud()))
    assert fields == 2 and forward < 1e-6 and central < 1e-6


def test_names_of_long_tables_are_names():
    text = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name in SHARES if f"def {name}(" not in text] == []
