"""One velocity of each attention system beside the bare tilted mean and matrix products it needs.

    python benchmarks/attention_systems.py [part of a name]

float32, n = 2048 tokens in R^16 (three bodies and Sinkhorn: 256), medians of interleaved runs, CPU
time.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
from _timing import interleaved

import flowjax_measures as fm
from flowjax_measures.energies._schrodinger import potentials

N, D, BETA = 2048, 16, 0.5
X = jr.normal(jr.key(0), (N, D), jnp.float32) / 4
Q, K, V = (jr.normal(k, (D, D), jnp.float32) / 4 for k in jr.split(jr.key(1), 3))
W = jr.uniform(jr.key(2), (N, N), jnp.float32)
PLACE = jnp.arange(N, dtype=jnp.int32)


def reading(x, logits, points, fn=lambda y: y):
    """The bare tilted mean at all tokens: its matrix products are outside."""
    mu = fm.Particles(points)
    return jax.vmap(lambda a: mu.mean(fn, lambda y: logits(a, y)))(x)


def bare_attention(x):
    score = lambda q, y: BETA * jnp.vdot(q, y[0])  # noqa: E731
    return reading(x @ Q.T, score, (x @ K.T, x), lambda y: y[1]) @ V.T


def bare_differences(x):
    """Values that differ from target to target are no matrix product."""
    mu, keys = fm.Particles((x @ K.T, x)), x @ Q.T
    score = lambda q: lambda y: BETA * jnp.vdot(q, y[0])  # noqa: E731
    return jax.vmap(lambda a, q: mu.mean(lambda y: y[1] - a, score(q)))(x, keys) @ V.T


def bare_l2(x):
    keys = x @ K.T
    norms = jnp.sum(keys**2, 1)
    score = lambda q, y: BETA * (2 * jnp.vdot(q, y[0]) - y[1])  # noqa: E731
    return reading(x @ Q.T, score, (keys, norms, x), lambda y: y[2]) @ V.T


def bare_plain(x):
    return reading(x, lambda q, y: BETA * jnp.vdot(q, y), x)


def bare_causal(x):
    def score(a, y):
        return jnp.where(y[1] <= a[1], BETA * jnp.vdot(a[0], y[0]), -jnp.inf)

    return reading((x, PLACE), score, (x, PLACE), lambda y: y[0])


def bare_graph(x):
    """A graph costs its own array: one row for each token, taken where it is used."""

    def one(a, row):
        pairs = fm.Particles((x, row))
        return pairs.mean(lambda y: y[0], lambda y: BETA * jnp.vdot(a, y[0]) + jnp.log(y[1]))

    return jax.vmap(one)(x, W)


def bare_linear(x):
    return BETA * (x @ Q.T) @ ((x @ K.T).T @ (x @ V.T)) / N


def bare_positions(x):
    """The circle model: W' and a mask; sines and cosines of differences."""

    def pull(a, y):
        away = a[0] - y[0]
        return -BETA * jnp.sin(away) * jnp.exp(BETA * jnp.cos(away))

    def one(a):
        mu = fm.Particles((x[:, :1], PLACE))
        past = lambda y: jnp.where(y[1] <= a[1], 0.0, -jnp.inf)  # noqa: E731
        return mu.mean(lambda y: pull(a, y), past)

    return jax.vmap(one)((x[:, :1], PLACE))


def bare_sinkhorn(x):
    """The potentials, and one reading with them."""
    queries, keys, log_w = x @ Q.T, x @ K.T, jnp.full(len(x), -jnp.log(len(x)))
    epsilon = jnp.asarray(2 / BETA, x.dtype)
    _, g = potentials(queries, log_w, keys, log_w, epsilon)
    score = lambda q, y: (y[1] - jnp.sum((q - y[0]) ** 2)) / epsilon  # noqa: E731
    return reading(queries, score, (keys, g, x), lambda y: y[2]) @ V.T


def three_bodies(x, y, z):
    return jnp.vdot(y, z) * y - x


def bare_triples(x):
    mu = fm.Particles(x)
    return jax.vmap(lambda a: mu.mean(lambda y: mu.mean(lambda z: three_bodies(a, y, z))))(x)


def bare_inertial(x):
    """Log Z of all tokens, and one reading of d values and d more."""
    score = lambda a, y: BETA * jnp.vdot(a, y)  # noqa: E731
    mu = fm.Particles(x)
    log_z = jax.vmap(lambda a: mu.logmean(lambda y: score(a, y)))(x)
    inertia = jnp.sum(x**2, 1) * jnp.exp(-2 * log_z)
    fn = lambda y: (y[0], y[1])  # noqa: E731
    near, pushed = reading(x, lambda a, y: score(a, y[0]), (x, inertia[:, None] * x), fn)
    return near + pushed


def bare_inertial_linear(x):
    """The moment of momenta and places, read by both."""
    p = x[::-1]
    moment = p.T @ x / len(x)
    return x @ moment.T + x - p @ moment


def of(system):
    return lambda x: system(0.0, fm.Particles(x)).drift.x


def of_angles(system):
    return lambda x: system(0.0, fm.Particles(x[:, :1])).drift.x


def few(velocity):
    return lambda x: velocity(x[:256])


def inertial(attention):
    system = fm.SympFormer(attention, beta=BETA, damping=0.0)
    return lambda x: sum(system(0.0, fm.Particles(fm.Phase(x, x[::-1]))).drift.x)


CASES = {
    "SelfAttention": (of(fm.SelfAttention(Q, K, V, BETA)), bare_attention),
    "SelfAttention, two heads": (
        of(fm.SelfAttention(jnp.stack([Q, K]), jnp.stack([K, Q]), jnp.stack([V, Q]), BETA)),
        lambda x: bare_attention(x) + bare_attention(x[::-1])[::-1],
    ),
    "SelfAttention, causal": (of(fm.SelfAttention(beta=BETA, causal=True)), bare_causal),
    "CausalAttention": (of(fm.CausalAttention(beta=BETA, recency=1.0)), bare_causal),
    "MeanShift": (of(fm.MeanShift(Q, K, V, BETA)), bare_differences),
    "L2Attention": (of(fm.L2Attention(Q, K, V, BETA)), bare_l2),
    "LinearAttention": (of(fm.LinearAttention(Q, K, V, BETA)), bare_linear),
    "GraphAttention": (of(fm.GraphAttention(W, beta=BETA)), bare_graph),
    "Normalized": (of(fm.Normalized(fm.SelfAttention(beta=BETA))), bare_plain),
    "feed-forward": (
        of(fm.SelfAttention(beta=BETA) + fm.FeedForward(Q, None, V)),
        lambda x: bare_plain(x) + jax.nn.relu(x @ Q.T) @ V.T,
    ),
    "CausalCircle": (of_angles(fm.CausalCircle(BETA, 1.0)), bare_positions),
    "SympFormer, softmax": (inertial("softmax"), bare_inertial),
    "SympFormer, linear": (inertial("linear"), bare_inertial_linear),
    "SinkhornAttention": (few(of(fm.SinkhornAttention(Q, K, V, BETA))), few(bare_sinkhorn)),
    "HypergraphInteraction": (
        few(of(fm.HypergraphInteraction((lambda x, y: 0 * x, three_bodies)))),
        few(bare_triples),
    ),
}


def main():
    chosen = {k: v for k, v in CASES.items() if not sys.argv[1:] or sys.argv[1] in k}
    print(f"jax {jax.__version__}, {jax.devices()[0]}, n = {N}, d = {D}, ms")
    for name, (ours, bare) in chosen.items():
        compiled = {"ours": jax.jit(ours), "bare": jax.jit(bare)}
        times = interleaved({k: lambda f=f: f(X) for k, f in compiled.items()}, 11)
        ratio = times["ours"] / times["bare"]
        print(f"{name:28s} {1e3 * times['ours']:8.2f} {1e3 * times['bare']:8.2f}  {ratio:5.2f}")


if __name__ == "__main__":
    main()
