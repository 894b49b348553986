"""What generative flows show: rectification, optimal maps by controls, finer grids, samplers.

Run: `JAX_ENABLE_X64=1 python benchmarks/generative.py`.
"""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.optimize import minimize

import flowjax_measures as fm
from flowjax_measures.measures._base import replace

SOURCE = fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[1.3, 0.4], [0.4, 0.6]]))
TARGET = fm.Gaussian(jnp.array([1.0, 0.5]), jnp.array([[0.5, -0.3], [-0.3, 1.7]]))
NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))


def quadratic(x):
    return jnp.concatenate([x, jnp.outer(x, x)[jnp.triu_indices(2)]])


def rectify(cross, gradient):
    """Cov(X_0, X_1) of the pairs that the flow of a coupling makes."""
    flow = fm.StochasticInterpolant(SOURCE, TARGET, coupling=cross)
    velocity = flow.velocity
    if gradient:

        def path(t):
            cov = (1 - t) ** 2 * SOURCE.cov + t**2 * TARGET.cov + t * (1 - t) * (cross + cross.T)
            return replace(SOURCE, m=(1 - t) * SOURCE.m + t * TARGET.m, cov=cov)

        restricted = fm.LeastSquaresFlow(path, quadratic)
        velocity = lambda t, x: restricted.rates(t, x, None).velocity  # noqa: E731
    law = fm.Custom(lambda t, z, mu: jnp.concatenate([jnp.zeros(2), velocity(t, z[2:])]))
    both = fm.Gaussian(
        jnp.tile(SOURCE.m, 2), jnp.block([[SOURCE.cov, SOURCE.cov], [SOURCE.cov, SOURCE.cov]])
    )
    return fm.simulate(law, both, [0.0, 1.0]).final.cov[:2, 2:]


def rectification():
    trace = jnp.trace(SOURCE.cov + TARGET.cov)
    best = float(fm.bures(SOURCE, TARGET) - jnp.sum((SOURCE.m - TARGET.m) ** 2))
    for name, gradient in (("any velocity", False), ("gradients", True)):
        cross, gaps = jnp.zeros((2, 2)), []
        for _ in range(5):
            gaps.append(float(trace - 2 * jnp.trace(cross)) - best)
            cross = rectify(cross, gradient)
        print(f"cost over W2² after 0…4 rectifications, {name}:", *(f"{g:.2e}" for g in gaps))


def couplings():
    """What pairs of a minibatch cost, over W2²: the paths of a flow that learns from them."""
    best, flow = float(fm.bures(SOURCE, TARGET)), fm.StochasticInterpolant(SOURCE, TARGET)
    free = float(jnp.trace(SOURCE.cov + TARGET.cov) + jnp.sum((SOURCE.m - TARGET.m) ** 2))
    print(f"cost of independent pairs over W2²: {free - best:.3f}; W2² {best:.3f}")
    for n, runs in ((16, 256), (64, 64), (256, 32)):
        path = jax.jit(lambda key, n=n: flow.path(key, n, fm.coupling))
        paths = [path(key) for key in jr.split(jr.key(0), runs)]
        costs = np.array([jnp.mean(jnp.sum((p.target - p.source) ** 2, axis=1)) for p in paths])
        print(f"minibatches of {n}: {costs.mean() - best:.3f} ± {costs.std() / runs**0.5:.3f}")


def controls():
    matrix = fm.bures_map(NORMAL, TARGET)
    test = NORMAL.sample(jr.key(9), 2000)
    field = fm.ControlLinear(
        lambda x: jnp.concatenate([jnp.eye(2), jnp.kron(x[:, None], jnp.eye(2))])
    )

    def error(n, beta):
        x, y = NORMAL.sample(jr.key(1), n), TARGET.sample(jr.key(2), n)
        j = jnp.argmax(fm.coupling(fm.Particles(x), fm.Particles(y)), axis=1)
        pairs = fm.Particles((x, y[j]))

        @jax.jit
        def value(u):
            flow = fm.ControlledFlow(field, u.reshape(4, 6))
            cost = lambda z: jnp.sum((z[0] - z[1]) ** 2)  # noqa: E731
            found = fm.pontryagin(flow, pairs, cost, lambda u: beta / 2 * jnp.sum(u**2), dt=0.05)
            return found.value, found.gradient.ravel()

        found = minimize(value, np.zeros(24), jac=True, method="L-BFGS-B")
        flow = fm.ControlledFlow(field, jnp.asarray(found.x).reshape(4, 6))
        final = fm.simulate(flow, fm.Particles(test), [0.0, 1.0], dt=0.05).final.x
        gap = final - TARGET.m - test @ matrix.T
        return float(jnp.sqrt(jnp.mean(jnp.sum(gap**2, axis=1))))

    for n in (20, 80, 320):
        print(f"controls, N = {n}, beta = 1e-4: L2 error of the map {error(n, 1e-4):.3f}")
    for beta in (1.0, 0.1, 0.01):
        print(f"controls, N = 320, beta = {beta}: L2 error of the map {error(320, beta):.3f}")


def grids():
    for n in (16, 32, 64, 128):
        grid = jnp.linspace(0, 1, n)[:, None]
        noise = fm.gaussian_process(fm.LaplaceKernel(0.3), grid)
        data = fm.Particles(jnp.stack([jnp.sin(3 * grid[:, 0]), jnp.cos(2 * grid[:, 0])]))
        x, found = jnp.sin(5 * grid[:, 0]), []
        for c in (noise.cov, None):
            flow = fm.StochasticInterpolant(noise, data, diffusion=0.5, preconditioner=c)
            jacobian = jax.jacfwd(lambda x, f=flow: f.rates(0.3, x, None).velocity)(x)
            found.append(float(np.abs(np.linalg.eigvals(jacobian)).max()))
        print(
            f"grid of {n}: stiffness {found[0]:.2f} with the process' noise, {found[1]:.0f} white"
        )


def dimensions():
    levels = jnp.exp(jnp.linspace(np.log(0.05), np.log(5.0), 300))
    for d in (16, 64, 256, 1024):
        line = fm.Particles(jnp.zeros((41, d)).at[:, 0].set(jnp.linspace(-1, 1, 41)))
        blind = fm.BlindDenoising(line, levels, 0.1)
        y = line.sample(jr.key(0), 200) + 0.8 * jr.normal(jr.key(1), (200, d))
        masses = jax.jit(jax.vmap(blind.posterior))(y)
        error = float(jnp.mean(masses @ ((0.8 / levels) ** 2 - 1) ** 2))
        print(f"blind, d = {d}: mean square error of the level {error:.4f} = {error * d:.2f}/d")


def samplers():
    """Energy distances of 4000 points to 4000 draws of a mixture, by exact fields in few steps."""
    means = 2.0 * jnp.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])
    target = fm.Particles((means, jnp.broadcast_to(0.04 * jnp.eye(2), (3, 2, 2))))
    flow = fm.StochasticInterpolant(NORMAL, target)
    noisy = fm.StochasticInterpolant(NORMAL, target, diffusion=lambda t: 1 - t)
    runs = range(4)
    starts = [fm.Particles(NORMAL.sample(jr.key(k), 4000)) for k in runs]
    wanted, others = (
        [fm.Particles(flow.path(jr.key(k + part), 4000).target) for k in runs] for part in (9, 19)
    )
    rows = {
        "Euler": (flow, lambda k: diffrax.Euler()),
        "Heun": (flow, lambda k: diffrax.Heun()),
        "exponential, order 1": (flow, lambda k: fm.ExponentialIntegrator(order=1)),
        "exponential, order 2": (flow, lambda k: fm.ExponentialIntegrator()),
        "churn 10": (flow, lambda k: fm.StochasticChurn(jr.key(k), 10.0)),
        "ancestral": (flow, lambda k: fm.AncestralSampling(jr.key(k))),
        "Euler–Maruyama": (noisy, lambda k: diffrax.Euler()),
        "predictor–corrector": (noisy, lambda k: fm.PredictorCorrector()),
    }

    def gap(mus):
        pairs = zip(mus, wanted, strict=True)
        return 1e3 * np.mean([float(fm.energy_distance(mu, nu)) for mu, nu in pairs])

    print(f"energy distance (1e-3) after 5, 10, 20, 40 steps; of draws {gap(others):.2f}")
    for name, (law, solver) in rows.items():
        print(f"  {name}:", end="")
        for n in (5, 10, 20, 40):
            keys = [jr.key(k + 29) if law is noisy else None for k in runs]
            ends = [
                fm.simulate(law, start, [0.0, 1.0], dt=1 / n, solver=solver(k), key=key).final
                for k, (start, key) in enumerate(zip(starts, keys, strict=True))
            ]
            print(f" {gap(ends):.2f}", end="", flush=True)
        print()


def power(repeats=200, n=50):
    """Shares of rejections at 5% for two normal samples in R³ that are a shift apart."""
    shifts = jnp.linspace(0.0, 1.0, 5)

    def p_value(key, shift, statistic):
        one, two, three = jr.split(key, 3)
        x = jr.normal(one, (n, 3))
        y = jr.normal(two, (n, 3)) + jnp.array([1.0, 0.0, 0.0]) * shift
        options = dict(statistic=statistic, permutations=99, directions=16)
        return fm.two_sample_test(x, y, key=three, **options).p_value

    print(f"power at shifts {', '.join(f'{s:.2f}' for s in shifts)}")
    for name in ("mmd", "energy", "sliced", "classifier"):
        found = jax.jit(lambda keys, shift, name=name: jax.lax.map(
            lambda key: p_value(key, shift, name), keys
        ))  # fmt: skip
        keys = jr.split(jr.key(0), repeats)
        shares = [float(jnp.mean(found(keys, shift) <= 0.05 + 1e-9)) for shift in shifts]
        print(f"  {name}: {', '.join(f'{s:.2f}' for s in shares)}", flush=True)


if __name__ == "__main__":
    power()
    samplers()
    rectification()
    couplings()
    grids()
    dimensions()
    controls()
