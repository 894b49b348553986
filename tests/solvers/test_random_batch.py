import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.solvers._random_batch import _Batches

LAW = fm.Custom(lambda t, x, mu: mu.mean(lambda y: jnp.sin(y - x) + y**2 * x))
MU = fm.Particles(jr.normal(jr.key(0), (4, 2)))


def test_the_mean_over_all_partitions_is_the_whole_sum():
    # Four particles have three partitions into pairs; y² x, the sum over oneself, counts as well.
    partitions = jnp.array([[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 3], [1, 2]]], jnp.int32)
    drifts = [_Batches(LAW, members)(0.0, MU).drift.x for members in partitions]
    np.testing.assert_allclose(sum(drifts) / 3, LAW(0.0, MU).drift.x, rtol=1e-13)


def test_one_batch_of_all_is_the_plain_run():
    options = {"ts": [0.0, 0.3], "dt": 0.1}
    whole = fm.RandomBatch(4, jr.key(1), diffrax.Heun())
    found = fm.simulate(LAW, MU, **options, solver=whole).final.x
    np.testing.assert_allclose(
        found, fm.simulate(LAW, MU, **options, solver=diffrax.Heun()).final.x, rtol=1e-13
    )


def test_pairs_that_attract_keep_their_centre():
    attraction = fm.Custom(lambda t, x, mu: mu.mean(lambda y: jnp.tanh(y - x)))
    mu = fm.Particles(jr.normal(jr.key(2), (60, 2)))
    run = fm.simulate(attraction, mu, [0.0, 3.0], dt=0.05, solver=fm.RandomBatch(2, jr.key(4)))
    np.testing.assert_allclose(run.final.mean(), mu.mean(), atol=1e-13)
    plain = fm.simulate(attraction, mu, [0.0, 3.0], dt=0.05).final.covariance()
    # Batches of two of 60 over 60 steps: the spread within the fluctuation of a few pairs.
    found = run.final.covariance()
    assert jnp.trace(found) < 0.2 * jnp.trace(mu.covariance())
    assert abs(jnp.trace(found) - jnp.trace(plain)) < 0.05 * jnp.trace(mu.covariance())


@pytest.mark.parametrize(
    ("system", "state", "size", "message"),
    [
        (LAW, MU, 3, "`size` of RandomBatch is 3 for 4"),
        (LAW, MU.weighted(), 2, "equal masses"),
        (fm.GraphAttention(jnp.ones((4, 4))), MU, 2, "tells its points apart"),
    ],
)
def test_what_has_no_batches_is_refused(system, state, size, message):
    with pytest.raises(ValueError, match=message):
        fm.simulate(system, state, [0.0, 0.1], dt=0.1, solver=fm.RandomBatch(size, jr.key(1)))
