"""Samplers on a banana, a funnel, a mixture and Bayesian logistic regression, beside peers.

Run: `python benchmarks/sampling.py` (blackjax and numpyro are optional). Errors after an equal
number of gradient evaluations a particle: largest error of means in units of the deviation,
largest relative error of deviations, energy distance to the truth, KSD. Truths: exact draws; for
the regression NUTS.
"""

import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm

N, STEPS = 100, 1000


def banana(x):
    return x[0] ** 2 / 2 + (x[1] - x[0] ** 2 / 2) ** 2 / (2 * 0.5**2)


def funnel(x):
    return x[0] ** 2 / 2 + x[1] ** 2 * jnp.exp(-x[0]) / 2 + x[0] / 2


def mixture(x):
    centres = jnp.array([[2.0, 0.0], [-2.0, 0.0]])
    square = jnp.sum((x - centres) ** 2, -1)
    return -jax.nn.logsumexp(-square / (2 * 0.6**2), b=jnp.array([0.7, 0.3]))


def draws(name, key, n=1000):
    z = jr.normal(key, (n, 2))
    if name == "banana":
        return jnp.stack([z[:, 0], z[:, 0] ** 2 / 2 + 0.5 * z[:, 1]], 1)
    if name == "funnel":
        return jnp.stack([z[:, 0], jnp.exp(z[:, 0] / 2) * z[:, 1]], 1)
    sign = jnp.where(jr.uniform(jr.fold_in(key, 1), (n,)) < 0.7, 2.0, -2.0)
    return 0.6 * z + jnp.stack([sign, jnp.zeros(n)], 1)


def regression():
    """The breast cancer data of scikit-learn: ten features and a constant, prior N(0, I)."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    z = data.data[:, :10]
    z = (z - z.mean(0)) / z.std(0)
    z = jnp.asarray(np.concatenate([np.ones((len(z), 1)), z], 1), jnp.float32)
    sign = jnp.asarray(2.0 * data.target - 1, jnp.float32)
    return lambda x: jnp.sum(jax.nn.softplus(-sign * (z @ x))) + jnp.vdot(x, x) / 2


def nuts(potential, d, n=1000):
    import blackjax

    log_density = lambda x: -potential(x)  # noqa: E731
    warmup = blackjax.window_adaptation(blackjax.nuts, log_density)
    (state, tuned), _ = warmup.run(jr.key(0), jnp.zeros(d), num_steps=500)
    step = jax.jit(blackjax.nuts(log_density, **tuned).step)

    def one(state, key):
        state, info = step(key, state)
        return state, (state.position, info.num_integration_steps)

    _, (points, cost) = jax.lax.scan(one, state, jr.split(jr.key(1), 4 * n))
    print(f"NUTS: {float(jnp.mean(cost)):.1f} gradients a draw")
    return points[::4]


def errors(x, truth, potential):
    scale = truth.std(0)
    mean = float(jnp.max(jnp.abs(x.mean(0) - truth.mean(0)) / scale))
    spread = float(jnp.max(jnp.abs(x.std(0) / scale - 1)))
    mu, nu = fm.Particles(x / scale), fm.Particles(truth / scale)
    distance = float(fm.energy_distance(mu, nu))
    discrepancy = float(fm.ksd(mu, lambda z: potential(z * scale)))
    return f"{mean:8.3f} {spread:8.3f} {distance:9.5f} {discrepancy:8.3f}"


def resample(mu, key):
    return mu.sample(key, N) if mu.log_w is not None else mu.x


def ours(potential, d, h):
    kl, median = fm.KL(potential), fm.MedianKernel()
    start = fm.Particles(jr.normal(jr.key(3), (N, d)))
    smoothed = fm.KL(potential, fm.GaussianKernel(0.3))
    blob = fm.PotentialEnergy(potential) + fm.KernelEntropy(fm.GaussianKernel(0.3))
    phase = fm.Particles(fm.Phase(start.x, jr.normal(jr.key(4), (N, d))))

    def run(system, mu, step, **kwargs):
        ts = np.array([0.0, STEPS * step])
        return fm.simulate(system, mu, ts, dt=step, key=jr.key(5), **kwargs).final

    import diffrax

    euler = {"solver": diffrax.Euler()}
    yield "Langevin", lambda: run(fm.Langevin(potential), start, h).x
    yield (
        "underdamped",
        lambda: run(fm.UnderdampedLangevin(potential, 2.0), phase, 0.5 * h**0.5).x.q,
    )
    yield "SVGD", lambda: run(fm.GradientFlow(kl, fm.Stein(median)), start, 10 * h, **euler).x
    yield (
        "R-SVGD 0.1",
        lambda: (
            run(
                fm.GradientFlow(kl, fm.RegularizedStein(fm.GaussianKernel(d**0.5), 0.1)),
                start,
                h,
                **euler,
            ).x
        ),
    )
    yield "blob", lambda: run(fm.GradientFlow(blob), start, h, **euler).x
    yield (
        "birth-death",
        lambda: resample(
            run(
                fm.GradientFlow(smoothed, fm.WassersteinFisherRao(1.0, 1.0)), start, h,
                solver=fm.BirthDeath(jr.key(6)),
            ),
            jr.key(7),
        ),
    )  # fmt: skip


def peers(potential, d, h):
    start = jr.normal(jr.key(3), (N, d))
    try:
        import blackjax
        import optax

        def svgd():
            algorithm = blackjax.svgd(
                jax.grad(lambda x: -potential(x)), optax.sgd(10 * h), blackjax.vi.svgd.rbf_kernel,
                blackjax.vi.svgd.update_median_heuristic,
            )  # fmt: skip
            state = algorithm.init(start, {"length_scale": jnp.asarray(1.0)})
            step = lambda s, _: (algorithm.step(s), None)  # noqa: E731
            return jax.lax.scan(step, state, None, length=STEPS)[0].particles

        yield "blackjax SVGD", svgd
    except ImportError:
        print("blackjax is not installed")
    try:
        vi, state, positions = stein(potential, start, 10 * h)

        def run():
            step = lambda s, _: (vi.update(s)[0], None)  # noqa: E731
            return positions(jax.lax.scan(step, state, None, length=STEPS)[0])

        yield "numpyro SVGD", run
    except ImportError:
        print("numpyro is not installed")


def stein(potential, start, h):
    """numpyro's SVGD from `start`: it, its state, and where its particles are."""
    import numpyro
    from numpyro.contrib.einstein import SVGD, RBFKernel
    from numpyro.distributions import Normal

    n, d = start.shape

    def model():
        x = numpyro.sample("x", Normal(0, 1).expand([d]).to_event(1))
        numpyro.factor("target", jnp.vdot(x, x) / 2 - potential(x))

    vi = SVGD(model, numpyro.optim.SGD(h), RBFKernel(), num_stein_particles=n)
    state = vi.init(jr.key(8))
    place = lambda s: jax.tree.leaves(vi.optim.get_params(s.optim_state))[0]  # noqa: E731
    params = vi.optim.get_params(state.optim_state)
    moved = jax.tree.map(lambda a: start.reshape(a.shape), params)
    state = state._replace(optim_state=vi.optim.init(moved))
    return vi, state, lambda s: place(s).reshape(n, d)


def main(names):
    for name in names:
        if name == "regression":
            potential, d, h = regression(), 11, 2e-3
            truth = nuts(potential, d)
        else:
            potential = {"banana": banana, "funnel": funnel, "mixture": mixture}[name]
            d, h, truth = 2, 0.02, draws(name, jr.key(2))
        print(f"\n{name}: {N} particles, {STEPS} gradients each")
        print(f"{'':16s}     mean  spread    energy      KSD   seconds")
        fresh = truth[:N]
        print(f"{'truth, 100 draws':16s} {errors(fresh, truth, potential)}")
        for method in (ours, peers):
            for label, sampler in method(potential, d, h):
                begin = time.process_time()
                try:
                    x = jax.block_until_ready(sampler())
                except Exception as error:  # a peer's own failure is a result
                    print(f"{label:16s} failed: {type(error).__name__}: {str(error)[:80]}")
                    continue
                seconds = time.process_time() - begin
                print(f"{label:16s} {errors(x, truth, potential)} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["banana", "funnel", "mixture", "regression"])
