"""Gaussian, mean-field and mixture variational inference on logistic regressions, against NUTS.

Run: `python benchmarks/variational.py [cancer digits cancer30 made]`. Errors of the means in units
of the deviation (largest, root mean square), of the deviations (relative, largest) and of the
correlations (largest), to 20,000 draws of numpyro's NUTS. The best Gaussian itself is not the
posterior: rows that agree with each other have found it. Beside them numpyro's automatic guides.
"""

import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _targets import cancer, digits, logistic

import flowjax_measures as fm

STEPS = 6000


def made(n=1000, d=100):
    """Correlated normal features of d − 1 columns, labels by a sparse rule; fixed seed."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, d - 1)) + 0.7 * rng.normal(size=(n, 1))
    rule = np.where(np.arange(d - 1) < 10, 1.0, 0.0) * rng.choice([-1, 1], d - 1)
    return logistic(z, rng.uniform(size=n) < 1 / (1 + np.exp(-z @ rule)))


def truth(potential, d):
    """Moments of NUTS, and the gradients that it took."""
    from numpyro.infer import MCMC, NUTS

    chain = MCMC(NUTS(potential_fn=potential), num_warmup=1000, num_samples=20_000,
                 progress_bar=False)  # fmt: skip
    chain.run(jr.key(0), init_params=jnp.zeros(d), extra_fields=("num_steps",))
    x = np.asarray(chain.get_samples(), float)
    return x.mean(0), np.cov(x.T), int(chain.get_extra_fields()["num_steps"].sum())


def shown(name, found, exact, seconds):
    m, cov = (np.asarray(a, float) for a in found)
    size, right = np.sqrt(np.diag(cov)), np.sqrt(np.diag(exact[1]))
    gap = np.abs(m - exact[0]) / right
    spread = np.max(np.abs(size / right - 1))
    off = np.max(np.abs(cov / np.outer(size, size) - exact[1] / np.outer(right, right)))
    print(f"{name:28s} {gap.max():7.3f} {np.sqrt(np.mean(gap**2)):7.3f} {spread:7.3f} {off:7.3f}"
          f" {seconds:7.1f}", flush=True)  # fmt: skip


def batches(part):
    """An estimate of V from a tenth of the data."""
    z, sign = part
    size = len(z) // 10

    def estimate(x, key):
        chosen = jr.randint(key, (size,), 0, len(z))
        loss = jnp.sum(jax.nn.softplus(-sign[chosen] * (z[chosen] @ x)))
        return len(z) / size * loss + jnp.vdot(x, x) / 2

    return estimate


def stiffness(potential, d):
    return float(jnp.linalg.eigvalsh(jax.hessian(potential)(jnp.zeros(d)))[-1])


def ours(potential, d):
    h = 1 / stiffness(potential, d)
    start = fm.Gaussian(jnp.zeros(d), h * jnp.eye(d))
    moments = lambda mu: (mu.m, mu.cov)  # noqa: E731
    ts = h * np.arange(STEPS // 2, STEPS + 1, STEPS // 20)

    def run(system, mu, **kwargs):
        times = np.concatenate([[0.0], ts])
        ys = fm.simulate(system, mu, times, dt=h, **kwargs).ys
        return jax.tree.map(lambda a: a[1:].mean(0), ys)

    for pairs in (1, 10):
        yield f"Gaussian, {pairs} pairs", lambda pairs=pairs: run(
            fm.Langevin(potential), start, solver=fm.StochasticBures(jr.key(1), pairs),
            observe=moments,
        )  # fmt: skip
    yield "Gaussian, a tenth of the data", lambda: run(
        fm.Langevin(potential), start, observe=moments,
        solver=fm.StochasticBures(jr.key(1), 1, batches(data_of(potential))),
    )  # fmt: skip
    yield "mean field, 1 pair", lambda: run(
        fm.IndependentProjection(potential), start, observe=moments,
        solver=fm.StochasticBures(jr.key(1)),
    )  # fmt: skip

    def mixture():
        count = 4
        m = 3 * h**0.5 * jr.normal(jr.key(2), (count, d))
        parts = jax.vmap(fm.Gaussian)(m, jnp.stack([start.cov] * count))
        mu = fm.Particles(parts, space=fm.Bures())

        def whole(mu):
            m = mu.x.m.mean(0)
            apart = mu.x.m - m
            return m, mu.x.cov.mean(0) + apart.T @ apart / count

        flow = fm.GradientFlow(fm.GaussianMixtureKL(potential))
        return run(flow, mu, solver=fm.StochasticBures(jr.key(1), 2), observe=whole)

    # Its Hessians of 16 densities a step take minutes in a hundred dimensions.
    if d <= 31:
        yield "mixture of 4, 2 pairs each", mixture


def data_of(potential):
    """The features and signs that a potential of `logistic` closes over."""
    cells = dict(zip(potential.__code__.co_freevars, potential.__closure__, strict=True))
    return cells["z"].cell_contents, cells["sign"].cell_contents


def guides(potential, d):
    import numpyro
    from numpyro.distributions import ImproperUniform, constraints
    from numpyro.infer import SVI, Trace_ELBO, autoguide

    def model():
        x = numpyro.sample("x", ImproperUniform(constraints.real_vector, (), (d,)))
        numpyro.factor("target", -potential(x))

    for name, kind in (
        ("numpyro, full guide", autoguide.AutoMultivariateNormal),
        ("numpyro, diagonal guide", autoguide.AutoDiagonalNormal),
    ):

        def fit(kind=kind):
            guide = kind(model, init_scale=0.05)
            svi = SVI(model, guide, numpyro.optim.Adam(5e-3), Trace_ELBO())
            params = svi.run(jr.key(0), 2 * STEPS, progress_bar=False).params
            law = guide.get_posterior(params)
            if kind is autoguide.AutoDiagonalNormal:
                return law.mean, jnp.diag(law.variance)
            return law.mean, law.covariance_matrix

        yield name, fit


def main(names):
    targets = {
        "cancer": (cancer, 11), "digits": (digits, 17), "cancer30": (lambda: cancer(30), 31),
        "made": (made, 100),
    }  # fmt: skip
    for name in names:
        build, d = targets[name]
        potential = build()
        begin = time.process_time()
        m, cov, gradients = truth(potential, d)
        seconds = time.process_time() - begin
        print(f"\n{name}, d = {d}: NUTS {gradients / 20_000:.1f} gradients a draw, {seconds:.0f} s")
        print(f"{'':28s} {'mean':>7s} {'rms':>7s} {'spread':>7s} {'corr.':>7s} {'s':>7s}")
        for method in (ours, guides):
            for label, fit in method(potential, d):
                begin = time.process_time()
                found = jax.block_until_ready(fit())
                shown(label, found, (m, cov), time.process_time() - begin)


if __name__ == "__main__":
    main(sys.argv[1:] or ["cancer", "digits", "cancer30", "made"])
