"""What learned fields are off by: errors in L², costs of reflow and couplings, flow and diffusion.

Run: `JAX_ENABLE_X64=1 python benchmarks/learning_errors.py [fields] [reflow] [score]`.
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from generative import NORMAL, SOURCE, TARGET

import flowjax_measures as fm

MEANS = jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]])
MIXTURE = fm.Particles((MEANS, jnp.broadcast_to(0.09 * jnp.eye(2), (3, 2, 2))))
HEUN = dict(dt=0.05, solver=diffrax.Heun())


def trained(flow, network, steps, pairing=None, seed=1):
    """A velocity of the flow, learned in batches of 128."""
    loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 128, pairing)  # noqa: E731
    options = dict(key=jr.key(seed), steps=steps, learning_rate=4e-3)
    return fm.learn(loss, network, **options).network


def fields(seeds=2):
    """∫ E‖v − b‖² dt over ∫ E‖b‖² dt, of networks and the exact b of a mixture."""
    exact = fm.StochasticInterpolant(NORMAL, MIXTURE)
    path = exact.path(jr.key(8), 4000)
    wanted = jax.vmap(exact.velocity)(path.t, path.point)
    size = jnp.mean(jnp.sum(wanted**2, axis=1))

    def error(n, steps, seed):
        data = MIXTURE if n is None else fm.Particles(exact.path(jr.key(30 + seed), n).target)
        flow = fm.StochasticInterpolant(NORMAL, data)
        found = trained(flow, fm.MLP(2, width=48, depth=2, key=jr.key(seed)), steps, seed=seed)
        gaps = jax.vmap(found)(path.t, path.point) - wanted
        return float(jnp.mean(jnp.sum(gaps**2, axis=1)) / size)

    def row(title, cases):
        each = np.array([[error(*case, seed) for seed in range(seeds)] for case in cases])
        middle, spread = each.mean(1), each.std(1, ddof=1) / seeds**0.5
        shown = ", ".join(f"{m:.4f} ± {s:.4f}" for m, s in zip(middle, spread, strict=True))
        print(f"{title}: {shown}", flush=True)
        return middle

    steps = (200, 800, 3200)
    free = row(f"steps {steps}, unlimited data", [(None, k) for k in steps])
    print(f"  slope {np.log(free[-1] / free[0]) / np.log(steps[-1] / steps[0]):.2f}")
    sizes = (30, 120, 480, 1920)
    found = row(f"data {sizes}, 3200 steps", [(n, 3200) for n in sizes]) - free[-1]
    slope = np.log(found[-1] / found[0]) / np.log(sizes[-1] / sizes[0])
    print(f"  slope of what is above unlimited data {slope:.2f}")


def reflow(rounds=3, n=10_000, steps=1500):
    """E‖X_1 − X_0‖² of pairs that learned flows make, over W₂² of Gaussians of their moments."""

    def pairs(velocity, seed):
        start = fm.Particles(SOURCE.sample(jr.key(seed), n))
        return start, fm.simulate(fm.ProbabilityFlow(velocity), start, [0.0, 1.0], **HEUN).final

    def cost(start, made):
        each = jnp.sum((made.x - start.x) ** 2, axis=1)
        laws = (fm.Gaussian(mu.mean(), mu.covariance()) for mu in (start, made))
        return f"{jnp.mean(each) - fm.bures(*laws):.5f}"

    networks = {
        "any velocity": fm.MLP(2, width=48, depth=2, key=jr.key(0)),
        "gradients": fm.GradientField(fm.MLP(2, width=48, depth=2, out="scalar", key=jr.key(0))),
    }
    for name, network in networks.items():
        flow, costs = fm.StochasticInterpolant(SOURCE, TARGET), []
        for k in range(rounds):
            network = trained(flow, network, steps)
            start, made = pairs(network, 10 + k)
            costs.append(cost(start, made))
            flow = fm.StochasticInterpolant(start, made, coupling="pairs")
        off = fm.energy_distance(made, fm.Particles(TARGET.sample(jr.key(5), n)))
        print(
            f"reflow, {name}: {', '.join(costs)}; energy distance in the end {off:.4f}", flush=True
        )
    flow, network, costs = fm.StochasticInterpolant(SOURCE, TARGET), networks["any velocity"], []
    for batch in (8, 32, 128):
        loss = lambda v, key, m=batch: fm.flow_matching_loss(v, flow, key, m, fm.coupling)  # noqa: E731
        found = fm.learn(loss, network, key=jr.key(1), steps=steps, learning_rate=4e-3).network
        costs.append(cost(*pairs(found, 20)))
    print(f"minibatch transport in batches of 8, 32, 128: {', '.join(costs)}")


def score():
    """KL of flow and diffusion by their densities, beside the bound by errors along the paths."""
    line = fm.Gaussian(jnp.zeros(1), jnp.eye(1))
    parts = jnp.array([[-1.0], [1.5]]), jnp.array([[[0.16]], [[0.25]]])
    flow = fm.StochasticInterpolant(line, fm.Particles(parts))
    x = (jnp.arange(400) + 0.5) / 400 * 12 - 6
    start = fm.GridDensity(jnp.exp(jax.vmap(lambda x: line.log_density(x[None]))(x)), -6.0, 6.0)
    points = flow.path(jr.key(3), 4000)
    early = points.t < 0.7
    for steps in (200, 1000, 5000):
        loss = lambda s, key: fm.score_matching_loss(s, flow, key, 128)  # noqa: E731
        network = fm.MLP(1, width=32, depth=2, key=jr.key(0))
        found = fm.learn(loss, network, key=jr.key(1), steps=steps, learning_rate=4e-3).network
        law = fm.ProbabilityFlow(flow.velocity, found, 0.5)
        error = fm.score_error(law, line, key=jr.key(2), n=2000, horizon=0.7, dt=0.035)
        rest = jax.vmap(lambda t, x, s=found: fm.fokker_planck_residual(flow.velocity, s, t, x))(
            points.t[early], points.point[early]
        )
        ends = [
            fm.simulate(system, start, [0.0, 0.7]).final.rho
            for system in (fm.ProbabilityFlow(flow.velocity), law)
        ]
        one, two = (np.maximum(rho, 1e-300) for rho in ends)
        gap = np.sum(one * np.log(one / two)) * 12 / 400
        print(
            f"{steps} steps: residual {jnp.sqrt(jnp.mean(rest**2)):.3f}, score at t = 0.7 off by "
            f"{jnp.sqrt(jnp.mean(error.errors**2)):.4f}, KL {gap:.5f}, at most {error.bound:.5f} "
            f"± {error.standard_error:.5f}",
            flush=True,
        )


if __name__ == "__main__":
    asked = sys.argv[1:] or ["fields", "reflow", "score"]
    for name in asked:
        dict(fields=fields, reflow=reflow, score=score)[name]()
