"""Gaussian closures are the limit of particles, at the rate n^{−1/2}."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

M, COV = jnp.array([0.4, -0.3]), jnp.array([[0.5, 0.15], [0.15, 0.3]])
TURN = jnp.array([[0.8, -0.6], [0.6, 0.8]])
SYSTEMS = {
    "softmax": fm.SelfAttention(TURN, value=-TURN, beta=0.7),
    "heads": fm.SelfAttention(jnp.stack([jnp.eye(2), TURN]), value=jnp.stack([TURN, -TURN])),
    "linear": fm.LinearAttention(TURN, beta=0.7),
    "l2": fm.L2Attention(TURN, beta=0.7),
    "sinkhorn": fm.SinkhornAttention(TURN, beta=0.7),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_particles_tend_to_the_closure(name):
    system, ts = SYSTEMS[name], [0.0, 0.5]
    closure = fm.simulate(system, fm.Gaussian(M, COV), ts, dt=0.25).final
    root = jnp.linalg.cholesky(COV)

    @jax.jit
    def errors(z):
        def one(z):
            final = fm.simulate(system, fm.Particles(M + z @ root.T), ts, dt=0.25).final
            gaps = (final.mean() - closure.m, final.covariance() - closure.cov)
            return sum(jnp.sum(g**2) for g in gaps)

        return jax.lax.map(one, z, batch_size=8)

    sizes = np.array([32, 64, 128, 256])
    rms = [
        float(jnp.sqrt(jnp.mean(errors(jr.normal(jr.key(n), (96, n, 2)))))) for n in sizes.tolist()
    ]
    slope = np.polyfit(np.log(sizes), np.log(rms), 1)[0]
    # 96 squares of five numbers: each root mean square is known to 3%, the slope to 0.02.
    print(name, rms, slope)
    assert abs(slope + 0.5) < 0.08
