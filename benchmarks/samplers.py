"""Samplers beside blackjax and numpyro: errors for a number of gradients, and where a rule stops.

Run: `python benchmarks/samplers.py [banana funnel mixture cancer digits schools]`. Errors are the
largest of means in units of the deviation, the largest relative one of deviations, and the energy
distance to the truth. Every sampler has 10⁴ and then 10⁵ gradients of the potential, adaptation
included: clouds of 100 points take 100 and 1000 steps, and are also averaged over the second half
of them; chains take what draws they can. The rule for clouds: the unbiased estimate of KSD², taken
every 20 steps, is no longer positive, as for draws of the target half of the time; for chains:
the effective number of draws of every coordinate is 100.
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _targets import nuts, target

import flowjax_measures as fm

N, LONG, SAVES = 100, 1000, 20


def clouds(goal, seed=0):
    """Samplers of ours: name, system, start, step and solver."""
    potential, d, _, h = goal
    start = fm.Particles(jr.normal(jr.key(3 + 100 * seed), (N, d)))
    phase = fm.Particles(fm.Phase(start.x, jr.normal(jr.key(4 + 100 * seed), (N, d))))
    kl, euler = fm.KL(potential), diffrax.Euler()
    smooth = fm.KL(potential, fm.GaussianKernel(0.3))
    blob = fm.PotentialEnergy(potential) + fm.KernelEntropy(fm.GaussianKernel(0.3))
    regular = fm.RegularizedStein(fm.GaussianKernel(d**0.5), 0.1)
    yield "Langevin", fm.Langevin(potential), start, h, None
    yield "underdamped", fm.UnderdampedLangevin(potential, 2.0), phase, 0.5 * h**0.5, None
    yield "SVGD", fm.GradientFlow(kl, fm.Stein(fm.MedianKernel())), start, 10 * h, euler
    yield "R-SVGD, ν = 0.1", fm.GradientFlow(kl, regular), start, h, euler
    yield "blob, h = 0.3", fm.GradientFlow(blob), start, h, euler
    growth = fm.GradientFlow(smooth, fm.WassersteinFisherRao(1.0, 1.0))
    yield "birth and death", growth, start, h, fm.BirthDeath(jr.key(6 + 100 * seed), 1.0)


def places(mu):
    return mu.x.q if isinstance(mu.x, fm.Phase) else mu.x


def run(system, start, h, solver, seed=0):
    """The cloud after every `SAVES` steps, as an array (times, n, d)."""
    ts = h * np.arange(0, LONG + 1, SAVES)
    key = jr.key(5 + 100 * seed)
    return fm.simulate(system, start, ts, dt=h, key=key, solver=solver, observe=places).ys


def errors(x, goal):
    truth = goal.draws
    scale = truth.std(0)
    mean = float(jnp.max(jnp.abs(x.mean(0) - truth.mean(0)) / scale))
    spread = float(jnp.max(jnp.abs(x.std(0) / scale - 1)))
    few = lambda y: fm.Particles((y / scale)[jr.permutation(jr.key(10), len(y))[:1000]])  # noqa: E731
    return mean, spread, float(fm.energy_distance(few(x), few(truth)))


def shown(found):
    return "   ".join(" ".join(f"{v:6.3f}" for v in e) if e else " " * 20 for e in found)


def stopped(paths, goal):
    """The first cloud of which KSD² is estimated as not positive, and its gradients."""
    scale = goal.draws.std(0)
    scaled = lambda z: goal.potential(z * scale)  # noqa: E731
    square = jax.jit(lambda x: fm.ksd(fm.Particles(x / scale), scaled, unbiased=True))
    for k, x in enumerate(paths):
        if k and square(x) <= 0:
            return N * SAVES * k, errors(x, goal)
    return None, "not reached"


def ours(goal):
    for name, system, start, h, solver in clouds(goal):
        paths = run(system, start, h, solver)
        row = []
        for steps in (LONG // 10, LONG):
            last = steps // SAVES
            pooled = paths[last // 2 + 1 : last + 1].reshape(-1, goal.dimension)
            row += [errors(paths[last], goal), errors(pooled, goal)]
        yield name, row, *stopped(paths, goal)


def seeds(names, count=5):
    """The energy distance at 10⁵ gradients, of the last cloud and averaged, over seeds."""
    for name in names:
        goal = target(name)
        found = {}
        for seed in range(count):
            for label, *how in clouds(goal, seed):
                paths = run(*how, seed)
                pooled = paths[LONG // SAVES // 2 + 1 :].reshape(-1, goal.dimension)
                both = errors(paths[-1], goal)[2], errors(pooled, goal)[2]
                found.setdefault(label, []).append(both)
        for label, values in found.items():
            mean, error = np.mean(values, 0), np.std(values, 0, ddof=1) / count**0.5
            cells = (f"{m:.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True))
            print(f"{name:8s} {label:16s}", "   ".join(cells), flush=True)


def numpyro_nuts(goal, warm, draws):
    import numpyro
    from numpyro.infer import MCMC, NUTS

    chain = MCMC(
        NUTS(potential_fn=goal.potential), num_warmup=warm, num_samples=draws, progress_bar=False
    )
    fields = ("num_steps",)
    numpyro.enable_x64(False)
    chain.warmup(
        jr.key(0), init_params=jnp.zeros(goal.dimension), extra_fields=fields, collect_warmup=True
    )
    before = int(np.sum(chain.get_extra_fields()["num_steps"]))
    chain.run(jr.key(1), extra_fields=fields)
    return chain.get_samples(), np.asarray(chain.get_extra_fields()["num_steps"]), before


def effective(x):
    """The least effective number of draws of a coordinate, by its autocorrelations (Geyer)."""
    x = np.asarray(x) - np.mean(x, 0)
    n = len(x)
    spectrum = np.abs(np.fft.rfft(x, 2 * n, axis=0)) ** 2
    rho = np.fft.irfft(spectrum, axis=0)[: n // 2 * 2]
    rho = rho / rho[0]
    pairs = rho.reshape(-1, 2, x.shape[1]).sum(1)
    positive = np.cumprod(pairs > 0, 0)
    return float(np.min(n / np.maximum(2 * np.sum(pairs * positive, 0) - 1, 1e-3)))


def chains(goal):
    few = {}
    for name, sampler in (
        ("blackjax NUTS", lambda w, n: nuts(goal.potential, goal.dimension, n, w)),
        ("numpyro NUTS", lambda w, n: numpyro_nuts(goal, w, n)),
    ):
        row = []
        for warm, budget in ((150, 10_000), (1000, 100_000)):
            x, cost, before = few[name] = sampler(warm, budget // 3)
            held = int(np.searchsorted(np.cumsum(cost) + before, budget))
            row += [None, errors(x[:held], goal) if held > 10 else None]
            x, cost, before = few[name]
            if warm == 150:
                lengths = np.geomspace(50, len(x), 40).astype(int)
                enough = [k for k in lengths if effective(x[:k]) >= 100]
                end = enough[0] if enough else None
                stop = int(before + cost[:end].sum()), errors(x[:end], goal)
        yield name, row, *(stop if end else (None, "not reached"))


def mala(goal):
    """100 chains of blackjax's MALA beside the cloud of Langevin's equation, the same step."""
    import blackjax

    step = blackjax.mala(lambda x: -goal.potential(x), goal.step).step
    state = jax.vmap(lambda x: blackjax.mala.init(x, lambda y: -goal.potential(y)))(
        jr.normal(jr.key(3), (N, goal.dimension))
    )

    def one(state, key):
        state, _ = jax.vmap(step)(jr.split(key, N), state)
        return state, state.position

    _, paths = jax.lax.scan(one, state, jr.split(jr.key(8), LONG))
    paths = jnp.concatenate([state.position[None], paths[SAVES - 1 :: SAVES]])
    row = []
    for steps in (LONG // 10, LONG):
        last = steps // SAVES
        pooled = paths[last // 2 + 1 : last + 1].reshape(-1, goal.dimension)
        row += [errors(paths[last], goal), errors(pooled, goal)]
    yield "blackjax MALA", row, *stopped(paths, goal)


def peers_of_stein(goal):
    """blackjax's and numpyro's SVGD, the flow of ours; at the end of 10⁵ gradients."""
    import blackjax
    import optax

    h, start = 10 * goal.step, jr.normal(jr.key(3), (N, goal.dimension))
    algorithm = blackjax.svgd(
        jax.grad(lambda x: -goal.potential(x)), optax.sgd(h), blackjax.vi.svgd.rbf_kernel,
        blackjax.vi.svgd.update_median_heuristic,
    )  # fmt: skip
    state = algorithm.init(start, {"length_scale": jnp.asarray(1.0)})
    step = lambda s, _: (algorithm.step(s), None)  # noqa: E731
    end = jax.lax.scan(step, state, None, length=LONG)[0].particles
    yield "blackjax SVGD", [None, None, errors(end, goal), None], None, ""
    vi, state, positions = stein(goal.potential, start, h)
    step = lambda s, _: (vi.update(s)[0], None)  # noqa: E731
    end = positions(jax.lax.scan(step, state, None, length=LONG)[0])
    yield "numpyro SVGD", [None, None, errors(end, goal), None], None, ""


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
        goal = target(name)
        print(f"\n{name}, d = {goal.dimension}: mean, spread, energy distance")
        columns = "10⁴", "averaged", "10⁵", "averaged", "gradients to the rule, errors there"
        print(f"{'':16s} " + "   ".join(f"{column:20s}" for column in columns))
        chosen = jr.choice(jr.key(9), len(goal.draws), (N,), replace=False)
        print(f"{'100 true draws':16s} {shown([errors(goal.draws[chosen], goal)])}")
        for method in (ours, mala, chains, peers_of_stein):
            try:
                for label, row, count, end in method(goal):
                    rule = f"{count} {shown([end])}" if count else end
                    print(f"{label:16s} {shown(row)}   {rule}", flush=True)
            except ImportError as error:
                print(f"{method.__name__}: {error.name} is not installed")


if __name__ == "__main__":
    if sys.argv[1:2] == ["seeds"]:
        sys.exit(seeds(sys.argv[2:]))
    main(sys.argv[1:] or ["banana", "funnel", "mixture", "cancer", "digits", "schools"])
