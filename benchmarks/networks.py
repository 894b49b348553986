"""Studies of wide and deep networks: `python benchmarks/networks.py STUDY`.

spikes      sparse deconvolution: dense and bad starts, deviation from the limit in M neurons
relu        knots of univariate ReLU networks, trained rich and lazy
resnet      the distance of residual networks to their limit over (L, M, D)
transformer the same of deep transformers, and budget laws
decay       training a residual network to the end
noise       real minibatch SGD beside the stochastic mean field; fluctuations in the step size
chaos       n neurons of mean-field Langevin dynamics beside their limit
collision   Allen–Cahn on two neurons through their collision
control     robust and plain training of a neural ODE by costates
"""

import sys
import time

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy.optimize
import scipy.stats

import flowjax_measures as fm

# --- Sparse spikes ---------------------------------------------------------------------------

FREQUENCIES = 5
TEACHER = (np.array([0.15, 0.42, 0.78]), np.array([1.0, -0.7, 0.9]))
PENALTY = 0.02


def waves(angle):
    """The Fourier measurements of a unit spike."""
    phases = angle * jnp.arange(1.0, FREQUENCIES + 1)
    waves = jnp.sqrt(2.0) * jnp.concatenate([jnp.cos(phases), jnp.sin(phases)])
    return jnp.concatenate([jnp.ones(1), waves])


MEASURED = np.array(sum(w * waves(2 * np.pi * t) for t, w in zip(*TEACHER, strict=True)))


def measurements(mu):
    """Of spikes of mass ±|x|² at the angle of x: homogeneous of degree two."""

    def one(x):
        place, sign = x["place"], jax.lax.stop_gradient(x["sign"])
        return sign * jnp.sum(place**2) * waves(jnp.arctan2(place[1], place[0]))

    return mu.mean(one)


def spikes_energy(mu):
    gap = measurements(mu) - MEASURED
    return jnp.vdot(gap, gap) / 2 + PENALTY * mu.mean(lambda x: jnp.sum(x["place"] ** 2))


def spikes_flow():
    return fm.GradientFlow(fm.Functional(spikes_energy))


def spikes_start(theta, r=0.3):
    """Spikes of both signs at positions θ of the circle R/Z."""
    signs = jnp.concatenate([jnp.ones(theta.size), -jnp.ones(theta.size)])
    angle = 2 * jnp.pi * jnp.concatenate([theta, theta])
    place = r * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    return fm.Particles({"place": place, "sign": signs})


def certificate(mu):
    """max_θ |⟨φ(θ), gap⟩| / penalty: 1 at the minimum of the convex problem, and there alone."""
    gap = measurements(mu) - MEASURED
    angles = 2 * jnp.pi * jnp.arange(4000.0) / 4000
    return float(jnp.max(jnp.abs(jax.vmap(waves)(angles) @ gap))) / PENALTY


def spikes():
    flow = spikes_flow()
    starts = {
        "2 × 40 on the circle": (jnp.arange(40) + 0.5) / 40,
        "2 × 10 on the circle": (jnp.arange(10) + 0.5) / 10,
        "2 × 40 on one twentieth of it": 0.5 + (jnp.arange(40) + 0.5) / 800,
        "2 × 2": jnp.array([0.55, 0.6]),
    }
    for name, theta in starts.items():
        final = fm.simulate(flow, spikes_start(theta), [0.0, 1000.0], dt=0.01).final
        print(f"{name}: energy {spikes_energy(final):.6f}, certificate {certificate(final):.6f}")

    reference = fm.simulate(
        flow, spikes_start((jnp.arange(4000) + 0.5) / 4000), [0.0, 0.1], dt=0.002
    )
    limit = measurements(reference.final)
    sizes, errors = [32, 64, 128, 256, 512, 1024], []
    for n in sizes:
        run = lambda key, n=n: measurements(  # noqa: E731
            fm.simulate(flow, spikes_start(jr.uniform(key, (n,))), [0.0, 0.1], dt=0.002).final
        )
        values = jax.jit(jax.vmap(run))(jr.split(jr.key(0), 64))
        errors.append(float(jnp.sqrt(jnp.mean(jnp.sum((values - limit) ** 2, axis=1)))))
        print(f"2 × {n} random neurons: deviation of the predictions at t = 0.1: {errors[-1]:.4f}")
    print("slope in the number of neurons", np.polyfit(np.log(sizes), np.log(errors), 1)[0])


# --- Univariate ReLU networks -----------------------------------------------------------------

RELU_X = np.array([-1.0, -0.7, -0.35, 0.0, 0.3, 0.65, 1.0])
RELU_Y = np.array([0.3, -0.2, 0.25, 0.6, 0.1, -0.3, 0.2])


def relu_run(scale, neurons=200, horizon=4000.0, decay=1e-4, seed=0):
    """A trained network and its values on a grid."""
    inputs = jnp.stack([jnp.asarray(RELU_X), jnp.ones(7)], axis=1)
    network = fm.ShallowNetwork(
        jax.nn.relu, (inputs, jnp.asarray(RELU_Y)), regularization=decay / scale, scale=scale
    )
    start = fm.initial.neurons(jr.key(seed), neurons, 2, law="balanced", paired=True)
    final = fm.simulate(network, start, [0.0, horizon], dt=0.05).final
    grid = jnp.linspace(-1.2, 1.2, 2401)
    shown = fm.ShallowNetwork(
        jax.nn.relu, (jnp.stack([grid, jnp.ones(grid.size)], 1), jnp.zeros(grid.size)), scale=scale
    )
    return network, final, np.asarray(grid), np.asarray(shown.predictions(final))


def knots(final, scale, tolerance):
    """How often the slope changes by more than `tolerance` between neighbouring data."""
    (u, v), n = final.x, final.size()
    place, jump = np.asarray(-u[:, 1] / u[:, 0]), np.asarray(scale * v * np.abs(u[:, 0]) / n)
    inside = np.abs(place) < 1
    order = np.argsort(place[inside])
    place, jump = place[inside][order], jump[inside][order]
    groups = np.split(np.arange(place.size), np.flatnonzero(np.diff(place) > 0.01) + 1)
    kept = [np.mean(place[g]) for g in groups if g.size and abs(jump[g].sum()) > tolerance]
    return np.histogram(kept, RELU_X)[0]


def relu():
    for scale in (1.0, 30.0):
        network, final, _, _ = relu_run(scale)
        (u, _), risk = final.x, float(jnp.mean(network.losses(network.predictions(final))))
        moved = np.abs(np.asarray(u)).max()
        print(f"scale {scale:4.0f}: mean squared error {risk:.1e}, knots between neighbours with a "
              f"change of slope > 0.02: {knots(final, scale, 0.02)}, > 0.1: "
              f"{knots(final, scale, 0.1)}; largest |u| {moved:.2f}")  # fmt: skip


# --- Residual networks ------------------------------------------------------------------------

DEPTH_INPUTS = jnp.stack([jnp.linspace(-1.5, 1.5, 6), jnp.ones(6)], axis=1)
DEPTH_DATA = (DEPTH_INPUTS, jnp.sin(2 * DEPTH_INPUTS[:, :1]))
STEPS, RATE, CLIP = 4, 1.0, 4.0


def descend(network, weights):
    ts = [0.0, STEPS * RATE]
    return fm.simulate(network, weights, ts, dt=RATE, solver=diffrax.Euler()).final


def depth_limit(embedding, readout, depth=16, width=2**13):
    """States x_L of the limit L M → ∞: neurons seen in the K dimensions that inputs reach."""
    k = embedding.shape[0]
    normal = scipy.stats.qmc.MultivariateNormalQMC(np.zeros(2 * k), rng=0).random(width)
    u, v = (jnp.asarray(np.repeat(a[None], depth, 0), jnp.float32) for a in np.split(normal, 2, 1))
    # Or the compiler evaluates what depends on these constants alone, slowly.
    u, v = jax.lax.optimization_barrier((u, v))
    network = fm.ResidualNetwork(depth, width, k, DEPTH_DATA, clip=CLIP, order=2)
    weights = fm.ResidualWeights(embedding, u, v, readout)
    trained = descend(network, weights)
    return network.states(trained)[-1], network.risk(weights), network.risk(trained)


def frames(dimension, seeds):
    """Q and R of the random [embedding, readout] of each seed, and the limits of their L M."""
    normal = np.random.default_rng(dimension).normal(size=(seeds, dimension, 3))
    q, r = np.linalg.qr(normal / np.sqrt(dimension))
    q, r = jnp.asarray(q, jnp.float32), jnp.asarray(r, jnp.float32)
    limits = jax.jit(lambda r: jax.lax.map(lambda a: depth_limit(a[:, :2], a[:, 2:])[0], r))(r)
    return q, r, limits


def depth_errors(depth, width, limit, q, r, limits):
    """Root mean squares of the distance to the limit in L M at this D, and in L M and D."""
    network = fm.ResidualNetwork(depth, width, q.shape[1], DEPTH_DATA, clip=CLIP)

    def one(inputs):
        key, q, r, here = inputs
        frame = q @ r
        u, v = jr.normal(key, (2, depth, width, q.shape[0]))
        trained = descend(network, fm.ResidualWeights(frame[:, :2], u, v, frame[:, 2:]))
        states = network.states(trained)[-1]
        square = lambda a: jnp.mean(jnp.sum(a**2, axis=1))  # noqa: E731
        return square(states - here @ q.T), square(states - limit @ frame.T)

    keys = jr.split(jr.key(0), q.shape[0])
    squares = jax.jit(lambda *a: jax.lax.map(one, a))(keys, q, r, limits)
    return [float(jnp.sqrt(jnp.mean(s))) for s in squares]


def fit_scaling(terms, errors, power):
    """e^power = Σ (c_i t_i)^power with relative weights and c ≥ 0; the fit and R² of log e."""
    terms, errors = np.array(terms) ** power, np.array(errors)
    c, _ = scipy.optimize.nnls(terms / errors[:, None] ** power, np.ones(errors.size))
    residual = np.log((terms @ c) ** (1 / power) / errors)
    quality = 1 - np.sum(residual**2) / np.sum((np.log(errors) - np.log(errors).mean()) ** 2)
    return c ** (1 / power), quality, np.exp(np.abs(residual).max())


def resnet_grid(seeds=8, budget=2**20):
    """Rows (L, M, D, distance to the limit in L M, distance to the limit) and (D, distance)."""
    eye = jnp.eye(3)
    limit, before, after = depth_limit(eye[:, :2], eye[:, 2:])
    print(f"limit: risk {before:.4f} → {after:.4f} in {STEPS} steps")
    check = depth_limit(eye[:, :2], eye[:, 2:], 32, 2**14)[0]
    print(f"limit at twice the depth and width: away by {float(jnp.abs(limit - check).max()):.1e}")
    rows, dimensions = [], []
    for dimension in (8, 32, 128, 512, 2048, 8192, 32768):
        q, r, limits = frames(dimension, seeds if dimension <= 512 else 2 * seeds)
        away = jax.vmap(lambda h, r: (h - limit @ r.T) ** 2)(limits, r)
        dimensions.append((dimension, float(jnp.sqrt(jnp.mean(jnp.sum(away, axis=2))))))
        print(f"D {dimension:5d}, L M → ∞: {dimensions[-1][1]:.4f}", flush=True)
        if dimension > 512:
            continue
        for depth in (2, 4, 8, 32):
            for width in (4, 32, 256, 4096):
                if depth * width * dimension > budget:
                    continue
                errors = depth_errors(depth, width, limit, q, r, limits)
                rows.append((depth, width, dimension, *errors))
                print(f"L {depth:3d} M {width:5d} D {dimension:4d}: to the limit in L M "
                      f"{errors[0]:.4f}, in L M and D {errors[1]:.4f}", flush=True)  # fmt: skip
    return rows, dimensions


def resnet():
    rows, dimensions = resnet_grid()
    grid = np.array(rows)
    L, M, D = grid.T[:3]
    terms = np.stack([1 / L, np.sqrt(D / (M * L)), 1 / np.sqrt(D)], axis=1)
    for power in (1, 2):
        kind = "sum" if power == 1 else "root of the sum of squares"
        c, quality, worst = fit_scaling(terms[:, :2], grid[:, 3], power)
        print(f"to the limit in L M at each D, {kind}: c1 {c[0]:.3f} c2 {c[1]:.3f}; R² of log "
              f"error {quality:.3f}, worst factor {worst:.2f}; {len(rows)} networks")  # fmt: skip
        c, quality, worst = fit_scaling(terms, grid[:, 4], power)
        print(f"to the limit in L M and D, {kind}: c1 {c[0]:.3f} c2 {c[1]:.3f} c3 {c[2]:.3f}; R² "
              f"of log error {quality:.3f}, worst factor {worst:.2f}")  # fmt: skip
    sizes, errors = np.array(dimensions).T
    slope = np.polyfit(np.log(sizes[2:]), np.log(errors[2:]), 1)[0]
    print(f"in D from {sizes[2]:.0f}: slope {slope:.3f}, c3 {np.mean(errors * np.sqrt(sizes)):.3f}")


# --- Deep transformers ------------------------------------------------------------------------

SEQUENCES = jr.normal(jr.key(7), (6, 4, 2))
ANSWERS = jnp.sin(2 * SEQUENCES[..., 0].mean(1, keepdims=True)) + (
    SEQUENCES[:, -1, 1:] * SEQUENCES[:, 0, :1] / 2
)


def deep_transformer(depth, width, dimension):
    data = (SEQUENCES, ANSWERS)
    return fm.ResidualTransformer(depth, width, dimension, 1, data, clip=1.0)


def trained_states(network, weights):
    """The states after four steps of 0.5, and the risk."""
    trained = fm.simulate(network, weights, [0.0, 2.0], dt=0.5, solver=diffrax.Euler()).final
    return network.states(trained)[-1], network.risk(trained)


def with_ends(weights, frame):
    return fm.TransformerWeights(frame[:, :2], *weights.layers, frame[:, 2:])


def transformer_limit(keys, depth=16, width=2**12):
    """States of the limit of L, M, D, in the coordinates of A and C, there orthonormal."""
    one = deep_transformer(1, 1, 3)
    like = with_ends(one.weights(keys[0]), jnp.eye(3))
    network, _ = one.limit(like, keys[0], depth, width)

    def run(key):
        start = like.in_span(key, depth, width)
        states, risk = trained_states(network, start)
        return states @ jnp.concatenate([start.embedding, start.readout], 1), risk

    states, risks = jax.jit(lambda k: jax.lax.map(run, k))(keys)
    spread = jnp.sqrt(jnp.mean(jnp.sum(jnp.var(states, 0, ddof=1), -1)) / len(keys))
    return states.mean(0), float(risks.mean()), float(spread)


def transformer_errors(depth, width, dimension, limit, seeds):
    """Root mean squares: of states from the limit of L M, of L, M and D, and of outputs."""
    network = deep_transformer(depth, width, dimension)
    square = lambda a: jnp.mean(jnp.sum(a**2, -1))  # noqa: E731

    def run(key):
        weights = network.weights(key)
        frame = jnp.concatenate([weights.embedding, weights.readout], 1)
        q, r = jnp.linalg.qr(frame)
        q = q * jnp.sign(jnp.diag(r))
        both = jax.tree.map(
            lambda *a: jnp.stack(a), with_ends(weights, q), with_ends(weights, frame)
        )
        exact, states = jax.lax.map(lambda w: trained_states(network, w)[0], both)
        outputs = states[:, -1] @ frame[:, 2:] - limit[:, -1, 2:]
        return square(exact - limit @ q.T), square(states - limit @ frame.T), square(outputs)

    keys = jr.split(jr.key(depth * width * dimension), seeds)
    squares = jax.jit(lambda k: jax.lax.map(run, k))(keys)
    return np.sqrt(np.mean(squares, 1))


def transformer(seeds=6):
    begin = time.perf_counter()
    limit, risk, spread = transformer_limit(jr.split(jr.key(0), 6))
    print(f"limit: risk {float(jnp.mean(ANSWERS**2)):.4f} → {risk:.4f} in 4 steps, its own error "
          f"{spread:.1e}; {time.perf_counter() - begin:.0f} s", flush=True)  # fmt: skip
    rows = []
    for dimension in (8, 32, 128):
        for depth in (2, 4, 8, 16):
            for width in (4, 16, 64, 256, 1024):
                if 2**9 <= depth * width * dimension <= 2**19 and depth * width >= 2 * dimension:
                    errors = transformer_errors(depth, width, dimension, limit, seeds)
                    rows.append((depth, width, dimension, *errors))
                    shown = " ".join(f"{e:.4f}" for e in errors)
                    print(f"L {depth:3d} M {width:5d} D {dimension:4d}: {shown}", flush=True)
    grid = np.array(rows)
    L, M, D = grid.T[:3]
    terms = np.stack([1 / L, np.sqrt(D / (M * L)), 1 / np.sqrt(D)], axis=1)
    for power in (1, 2):
        kind = "sum" if power == 1 else "root of the sum of squares"
        for name, some, column in (("A, C orthonormal", slice(0, 2), 3), ("A, C random", None, 4)):
            used = terms[:, some] if some else terms
            c, quality, worst = fit_scaling(used, grid[:, column], power)
            print(f"{name}, {kind}: c {np.round(c, 3)}, R² of log error {quality:.3f}, worst "
                  f"factor {worst:.2f}; {len(rows)} networks")  # fmt: skip
    laws = {
        "L ~ P^1/6, M ~ P^1/2, D ~ P^1/3": [(4, 64, 16), (6, 181, 32), (8, 512, 64)],
        "L ~ P^1/5, M, D ~ P^2/5": [(4, 16, 16), (6, 32, 32), (8, 64, 64), (11, 128, 128)],
    }
    for name, sizes in laws.items():
        budget = [np.prod(s, dtype=float) for s in sizes]
        errors = np.array([transformer_errors(*s, limit, 2 * seeds) for s in sizes])
        for kind, column in (("states", 1), ("outputs", 2)):
            e = errors[:, column]
            slope = np.polyfit(np.log(budget), np.log(e), 1)[0]
            print(f"{name}: {kind} {np.round(e, 4)} at P = {[round(p) for p in budget]}, slope "
                  f"{slope:.3f}")  # fmt: skip


def decay():
    """Training to the end: the loss falls exponentially, and the layers' laws move smoothly."""
    for depth in (8, 16, 32):
        network = fm.ResidualNetwork(depth, 8, 16, DEPTH_DATA)
        start = network.weights(jr.key(0))
        ts = np.linspace(0, 60, 13)
        run = fm.simulate(network, start, ts, dt=0.05)
        risks = np.asarray(jax.vmap(network.risk)(run.ys))
        rates = -np.diff(np.log(risks)) / np.diff(ts)
        moved = float(fm.conditional_wasserstein(start.laws(), run.final.laws()))
        shown = ", ".join(f"{r:.1e}" for r in risks[::4])
        print(f"L {depth}: risk {shown} at t = 0, 20, 40, 60; rates of decay "
              f"from t = 20 {rates[4:].min():.3f} to {rates[4:].max():.3f}; conditional "
              f"distance moved {moved:.3f}")  # fmt: skip


# --- Noise of minibatches ---------------------------------------------------------------------


def noise():
    inputs, targets = jr.normal(jr.key(1), (20, 3)), jr.normal(jr.key(2), (20,)) / 2
    network = fm.ShallowNetwork(jnp.tanh, (inputs, targets))
    start = fm.initial.neurons(jr.key(0), 50, 3)
    seeds, horizon = 4000, 1.0
    flow = fm.simulate(network, start, [0.0, horizon], dt=0.01).final
    limit = network.predictions(flow)

    def sgd(eta, key):
        def step(x, key):
            k = jr.randint(key, (), 0, 20)
            one = jnp.zeros(20).at[k].set(1.0)
            predictions = network.predictions(fm.Particles(x))
            move = jax.vmap(lambda y: network.pull(y, predictions, one))(x)
            return jax.tree.map(lambda a, b: a + eta * b, x, move), None

        keys = jr.split(key, round(horizon / eta))
        return network.predictions(fm.Particles(jax.lax.scan(step, start.x, keys)[0]))

    def smf(eta, key):
        system = fm.StochasticMeanField(network, eta, order=2)
        final = fm.simulate(system, start, [0.0, horizon], dt=eta / 2, key=key).final
        return network.predictions(final)

    for eta in (0.1, 0.05, 0.025):
        runs = [
            jax.jit(jax.vmap(lambda key, f=f, eta=eta: f(eta, key)))(jr.split(jr.key(3), seeds))
            for f in (sgd, smf)
        ]
        spread = [float(jnp.sqrt(jnp.mean(jnp.var(r, axis=0)))) for r in runs]
        away = [float(jnp.sqrt(jnp.mean((jnp.mean(r, axis=0) - limit) ** 2))) for r in runs]
        gap = float(jnp.sqrt(jnp.mean((jnp.mean(runs[0], 0) - jnp.mean(runs[1], 0)) ** 2)))
        print(f"η {eta:.3f}: spread of predictions SGD {spread[0]:.4f}, stochastic mean field "
              f"{spread[1]:.4f} (/√η {spread[0] / eta**0.5:.4f}, {spread[1] / eta**0.5:.4f}); mean "
              f"away from the flow {away[0]:.4f}, {away[1]:.4f}, from each other {gap:.5f} "
              f"(standard error {2**0.5 * spread[0] / seeds**0.5:.5f})")  # fmt: skip


# --- Propagation of chaos ---------------------------------------------------------------------


def chaos():
    a, kappa, tau = 1.0, 0.5, 0.3
    limit_variance = tau / (a + kappa)
    times = [0.0, 0.5, 1.0, 2.0, 5.0, 20.0]
    energy = fm.PotentialEnergy(fm.Quadratic(a)) + fm.InteractionEnergy(fm.QuadraticKernel(kappa))
    one = fm.simulate(
        fm.MeanFieldLangevin(energy, tau), fm.Gaussian(jnp.zeros(1), 0.5 * jnp.eye(1)), times
    ).ys.cov[:, 0, 0]
    print(f"limit's variance at the end {one[-1]:.6f}, exact {limit_variance:.6f}")
    sizes, worst = [4, 8, 16, 32, 64], []
    for n in sizes:

        def joint(x, n=n):
            pairs = n * jnp.sum(x**2) - jnp.sum(x) ** 2
            return 0.5 * a * jnp.sum(x**2) + 0.5 * kappa / n * pairs

        start = fm.Gaussian(jnp.zeros(n), 0.5 * jnp.eye(n))
        cov = fm.simulate(fm.Langevin(joint, 1 / tau), start, times).ys.cov
        whole = [
            float(jnp.trace(c) / s - n - jnp.linalg.slogdet(c / s)[1]) / 2
            for c, s in zip(cov, one, strict=True)
        ]
        single = [
            float(c[0, 0] / s - 1 - jnp.log(c[0, 0] / s)) / 2 for c, s in zip(cov, one, strict=True)
        ]
        worst.append((max(whole) / n, max(single)))
        print(
            f"n {n:3d}: largest over time of KL(all)/n {worst[-1][0]:.3e}, "
            f"KL(one) {worst[-1][1]:.3e}"
        )
    slopes = [np.polyfit(np.log(sizes), np.log(w), 1)[0] for w in np.array(worst).T]
    print(f"slopes: all, for each neuron {slopes[0]:.3f}; one {slopes[1]:.3f}")

    # A network, by simulation: n neurons against many.
    inputs, targets = jr.normal(jr.key(1), (8, 2)), jr.normal(jr.key(2), (8,)) / 2
    network = fm.ShallowNetwork(jnp.tanh, (inputs, targets), regularization=0.2)
    system = fm.MeanFieldLangevin(network, 0.05)

    def predictions(n, time_):
        def run(key):
            start, path = jr.split(key)
            mu = fm.initial.neurons(start, n, 2)
            return network.predictions(
                fm.simulate(system, mu, [0.0, time_], dt=0.05, key=path).final
            )

        return run

    for time_ in (2.0, 10.0, 40.0):
        limit = jnp.mean(jax.lax.map(predictions(4096, time_), jr.split(jr.key(5), 8)), axis=0)
        errors = []
        for n in (16, 64, 256):
            values = jax.jit(jax.vmap(predictions(n, time_)))(jr.split(jr.key(4), 64))
            errors.append(float(jnp.sqrt(jnp.mean((values - limit) ** 2))))
        slope = np.polyfit(np.log([16, 64, 256]), np.log(errors), 1)[0]
        print(f"network at t = {time_}: deviation for 16, 64, 256 neurons "
              f"{', '.join(f'{e:.4f}' for e in errors)}; slope {slope:.2f}")  # fmt: skip


# --- Collision --------------------------------------------------------------------------------


def collision_runs(tau=0.01):
    """Energies over time: the plain natural gradient (two solvers), minimising movements."""
    model = fm.AllenCahn(-8.0, 8.0, epsilon=0.5, well=lambda u: u**2 * (1 - u) ** 2, nodes=100)
    flow = fm.NaturalGradient(model.embedding, model.energy)
    theta = (jnp.array([0.5, 0.5]), jnp.array([-0.8, 0.8]))
    ts = np.linspace(0, 2, 81)
    observe = {"energy": model.energy, "theta": lambda s: s}
    solvers = {
        "natural gradient, Euler": dict(dt=tau, solver=diffrax.Euler()),
        "natural gradient, Tsit5": dict(dt=tau / 4),
        "minimising movements": dict(solver=fm.MinimizingMovement(tau, flow)),
        "and other starts": dict(solver=fm.MinimizingMovement(tau, flow, 30, model.splittings)),
    }
    return ts, model, {
        name: fm.simulate(flow, theta, ts, observe=observe, throw=False, **options).ys
        for name, options in solvers.items()
    }  # fmt: skip


def collision():
    for tau in (0.02, 0.01, 0.005):
        _, _, runs = collision_runs(tau)
        for name, ys in runs.items():
            energy = np.asarray(ys["energy"])
            bad = int(np.sum(~np.isfinite(energy)))
            rise = np.nanmax(np.diff(energy))
            print(f"τ {tau}: {name:24s} E(0.5) {energy[20]:.4f} E(1) {energy[40]:.4f} E(2) "
                  f"{energy[-1]:.4f}, largest rise {rise:.1e}, times not finite {bad}")  # fmt: skip


# --- Control ----------------------------------------------------------------------------------


def spirals(key, n):
    """Two classes of the plane, lifted to R³."""
    side, radius = jnp.sign(jr.normal(key, (n,))), jr.uniform(jr.fold_in(key, 1), (n,))
    angle = 3.0 * radius + jnp.where(side > 0, 0, jnp.pi)
    place = (0.3 + radius)[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    place = place + 0.03 * jr.normal(jr.fold_in(key, 2), (n, 2))
    return fm.Particles({"x": jnp.pad(place, ((0, 0), (0, 1))), "y": side})


def control_field(point, theta):
    move = theta["out"] @ jnp.tanh(theta["in"] @ point["x"] + theta["bias"])
    return {"x": move, "y": jnp.zeros_like(point["y"])}


def margin_loss(point):
    return jax.nn.softplus(-4 * point["y"] * point["x"][2])


def in_plane(p):
    return {"x": p["x"].at[2].set(0.0), "y": jnp.zeros_like(p["y"])}


def control(radius=0.15, iterations=400):
    import optax

    train, test = spirals(jr.key(0), 200), spirals(jr.key(1), 1000)
    keys = jr.split(jr.key(2), 2)
    controls = {
        "in": jr.normal(keys[0], (5, 8, 3)), "out": 0.3 * jr.normal(keys[1], (5, 3, 8)),
        "bias": jnp.zeros((5, 8)),
    }  # fmt: skip
    flow = lambda c: fm.ControlledFlow(control_field, c, 1.0)  # noqa: E731
    running = lambda c: 1e-4 * sum(jnp.sum(a**2) for a in jax.tree.leaves(c))  # noqa: E731
    optimizer = optax.adam(0.02)

    for robust in (False, True):

        @jax.jit
        def step(carry, _, robust=robust):
            c, state = carry
            mu = train
            if robust:
                mu = fm.worst_case(
                    flow(c), train, margin_loss, radius, steps=3, dt=0.1, moves=in_plane
                )
            result = fm.pontryagin(flow(c), mu, margin_loss, running, dt=0.1)
            updates, state = optimizer.update(result.gradient, state)
            return (optax.apply_updates(c, updates), state), result.value

        begin = time.process_time()
        (c, _), values = jax.lax.scan(step, (controls, optimizer.init(controls)), length=iterations)
        seconds = time.process_time() - begin
        attacked = fm.worst_case(
            flow(c), test, margin_loss, radius, steps=10, dt=0.1, moves=in_plane
        )

        def accuracy(mu, c=c):
            final = fm.simulate(flow(c), mu, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], dt=0.1).final
            return float(jnp.mean(final.x["x"][:, 2] * final.x["y"] > 0))

        print(
            f"{'robust' if robust else 'plain ':6s}: loss {values[0]:.3f} → {values[-1]:.3f}, test "
            f"accuracy {accuracy(test):.3f}, under attack {accuracy(attacked):.3f}; "
            f"CPU {seconds:.0f} s"
        )


if __name__ == "__main__":
    jax.config.update(
        "jax_enable_x64", sys.argv[1] not in ("resnet", "transformer", "relu", "noise", "control")
    )
    globals()[sys.argv[1]]()
