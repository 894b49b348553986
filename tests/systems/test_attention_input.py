"""Bad input of attention: refused with the argument's name, or of defined behaviour."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

MU = fm.Particles(jr.normal(jr.key(0), (5, 3)), space=fm.Sphere()).retract()
EYE, WIDE, TALL = jnp.eye(3), jnp.ones((2, 4)), jnp.ones((2, 3))

SYSTEMS = {
    "self": fm.SelfAttention,
    "l2": fm.L2Attention,
    "linear": fm.LinearAttention,
    "sinkhorn": fm.SinkhornAttention,
    "causal": fm.CausalAttention,
    "graph": lambda *a, **k: fm.GraphAttention(jnp.ones((5, 5)), *a, **k),
    "shift": fm.MeanShift,
    "alignment": fm.AlignmentFlow,
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_matrices_that_do_not_fit_are_named(name):
    make = SYSTEMS[name]
    for fields, words in (
        ({"query": WIDE}, r"`query` has shape \(2, 4\).*length 3"),
        ({"key": lambda t: WIDE}, r"`key` has shape \(2, 4\)"),
        ({"query": TALL}, "`query` has 2 rows and `key` has 3"),
        ({"value": TALL}, "`value` has 2 rows; .* needs 3"),
        ({"value": lambda t: jnp.ones((2, 3, 3, 3))}, "`value` has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            make(**fields)(0.0, MU)
    if name == "alignment":
        with pytest.raises(ValueError, match="`value` has shape"):
            make(value=jnp.ones((2, 3, 3)))(0.0, MU)


def test_relations_that_do_not_fit_are_named():
    for fields, words in (
        ({"mask": jnp.ones((4, 4), bool)}, r"`mask` has shape \(4, 4\) for 5 tokens"),
        ({"bias": jnp.ones((5, 4))}, r"`bias` has shape \(5, 4\)"),
        ({"bias": jnp.ones((2, 5, 5)), "beta": jnp.ones(3)}, "numbers of heads differ"),
        ({"bias": lambda i, j: jnp.ones(1), "beta": jnp.ones(3)}, r"`bias` of a pair has shape"),
        ({"rotary": 100.0}, "`rotary` turns pairs.*have 3"),
    ):
        for kind in (fm.SelfAttention, fm.LinearAttention, fm.MeanShift):
            with pytest.raises(ValueError, match=words):
                kind(**fields)(0.0, MU)
    for fields in ({"causal": True}, {"mask": jnp.ones((5, 5), bool)}):
        with pytest.raises(ValueError, match="`iterations` is None"):
            fm.SinkhornAttention(**fields)
    with pytest.raises(ValueError, match="`iterations` is 0"):
        fm.SinkhornAttention(iterations=0)
    with pytest.raises(ValueError, match="`mu` is a Gaussian"):
        fm.SelfAttention().weights(fm.Gaussian(jnp.zeros(2), jnp.eye(2)))


def test_heads_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="`output` has 2 rows"):
        fm.SelfAttention(output=TALL)(0.0, MU)
    with pytest.raises(ValueError, match=r"`output` has shape \(2, 4\).*length 3"):
        fm.SelfAttention(output=WIDE)(0.0, MU)
    with pytest.raises(ValueError, match="numbers of heads differ"):
        fm.SelfAttention(value=jnp.ones((2, 3, 3)), beta=jnp.ones(3))(0.0, MU)
    with pytest.raises(ValueError, match="points of shape"):
        fm.SelfAttention()(0.0, fm.Particles(jnp.ones((4, 2, 2))))
    for fields in ({"weight": WIDE}, {"weight": TALL, "output": EYE}):
        with pytest.raises(ValueError, match="has shape"):
            fm.FeedForward(**fields)(0.0, MU)


def test_numbers_out_of_range_have_a_meaning():
    # β < 0: what is far is read most.
    repelled = fm.SelfAttention(beta=-2.0)(0.0, MU).drift.x
    weights = np.exp(-2.0 * MU.x @ MU.x.T)
    reads = weights @ MU.x / weights.sum(1, keepdims=True)
    reads = reads - np.sum(reads * MU.x, axis=1, keepdims=True) * MU.x
    assert np.allclose(repelled, reads, atol=1e-14)
    with pytest.raises(ValueError, match="`beta` of SelfAttention is nan"):
        fm.SelfAttention(beta=jnp.nan)
    # β = inf: the run ends as not finite, at its first step.
    run = fm.simulate(fm.SelfAttention(beta=jnp.inf), MU, [0.0, 1.0], dt=0.5, throw=False)
    assert run.result == fm.Results.nonfinite and run.stats["bad_time"] == 0.5
    # A row that is masked throughout: its token stays.
    mask = jnp.ones((5, 5), bool).at[2].set(False)
    for system in (fm.SelfAttention(mask=mask), fm.GraphAttention(mask.astype(float))):
        drift = system(0.0, MU).drift.x
        assert np.all(drift[2] == 0) and np.all(np.any(drift[:2] != 0, axis=1))
