"""Brownian motion on measures: atoms are squared Bessel processes that run by their mass."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm


def test_masses_are_squared_bessel_processes():
    # n independent atoms of dimension 2θ/n = 4: E e^{−λs} = (1 + λβt)^{−2} e^{−λ/(1 + λβt)}.
    n, beta, t, lam = 4000, 0.5, 0.8, 0.7
    law = fm.HellingerKantorovichBrownian(0.3, beta, 2.0 * n)
    mu = fm.Particles(fm.Atom(jnp.zeros((n, 1)), jnp.ones(n)))
    final = fm.simulate(law, mu, [0.0, t], dt=0.01, key=jr.key(0)).final.x
    grow = 1 + lam * beta * t
    for values, exact in (
        (final.s, 1 + 2 * beta * t),
        (np.exp(-lam * np.asarray(final.s)), grow**-2 * np.exp(-lam / grow)),
    ):
        assert abs(np.mean(values) - exact) < 4 * np.std(values) / np.sqrt(n)


def test_law_is_the_inverse_metric():
    # |dx|² s/α + ds²/(βs), twice its inverse is the square of the noise.
    law, atom = (
        fm.HellingerKantorovichBrownian(0.3, 0.5, 0.8),
        fm.Atom(jnp.zeros(2), jnp.array(1.7)),
    )
    rates = law.rates(jnp.asarray(0.0), atom, fm.Particles(fm.Atom(jnp.zeros((5, 2)), jnp.ones(5))))
    assert rates.noise is not None
    exact = np.diag([0.6 / 1.7, 0.6 / 1.7, 1.7])
    np.testing.assert_allclose(rates.noise.squared(atom), exact)
    np.testing.assert_allclose(rates.velocity.s, 0.5 * 0.8 / 5)
