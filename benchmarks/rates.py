"""Published rates beside fitted slopes, with their 95% intervals.

Run: `JAX_ENABLE_X64=1 python benchmarks/rates.py`. A slope is that of log error in the logarithm of
what is named; its interval is that of least squares, from the scatter about the line and, where
errors are of samples, their standard errors.
"""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures.inference._slope import fitted_slope

TARGET = fm.Quadratic(jnp.array([[2.0, 0.5], [0.5, 1.0]]))
FINE = diffrax.PIDController(rtol=1e-10, atol=1e-14)
START = fm.Gaussian(jnp.ones(2), jnp.array([[0.5, 0.1], [0.1, 1.5]]))


def apart(mu, nu):
    return float(jnp.sqrt(fm.bures(mu, nu)))


def movements():
    """Minimising movements are of order 1 in τ ([jko1998])."""
    flow, taus = fm.GradientFlow(fm.KL(TARGET)), (0.025, 0.0125, 0.00625, 0.003125)
    exact = fm.simulate(flow, START, [0.0, 0.4]).final
    run = lambda tau: fm.simulate(flow, START, [0.0, 0.4], solver=fm.JKO(tau)).final  # noqa: E731
    return "JKO, in τ", 1, taus, [apart(run(tau), exact) for tau in taus], None


def sinkhorn():
    """Sinkhorn's iterates at k = t/ε are at O(ε) of the mirror flow ([deb2023])."""
    nu, epsilons = fm.Gaussian(jnp.zeros(2), 0.5 * jnp.eye(2)), (0.1, 0.05, 0.025, 0.0125)
    flow = fm.GradientFlow(fm.KL(TARGET), fm.WassersteinMirror(nu))
    exact = fm.simulate(flow, START, [0.0, 0.4]).final

    def run(epsilon):
        return fm.simulate(flow, START, [0.0, 0.4], solver=fm.SinkhornIterations(epsilon)).final

    return "Sinkhorn's iterates, in ε", 1, epsilons, [apart(run(e), exact) for e in epsilons], None


def acceleration():
    """Rates of the accelerated flow are √λ where those of first order are λ."""
    stiffness, rates = (1.0, 0.3, 0.1, 0.03), []
    for lam in stiffness:
        flow = fm.AcceleratedFlow(fm.PotentialEnergy(fm.Quadratic(lam)), 2 * lam**0.5)
        mu = fm.Particles(fm.Phase(jnp.ones((1, 1)), jnp.zeros((1, 1))))
        ts = np.array([0.0, 8.0, 16.0]) / lam**0.5
        x = fm.simulate(flow, mu, ts, observe=lambda mu: mu.x.q[0, 0],
                        stepsize_controller=FINE).ys  # fmt: skip
        # q = (1 + √λt) e^{−√λt}: less the polynomial.
        grow = np.log((1 + 16.0) / (1 + 8.0))
        rates.append((np.log(x[1] / x[2]) + grow) / (ts[2] - ts[1]))
    return "accelerated rate, in λ", 0.5, stiffness, rates, None


def weights():
    """Gaussians under Wasserstein–Fisher–Rao: errors fall at rates that don't know the barrier."""
    ts = np.array([0.0, 6.0, 8.0, 10.0, 12.0])
    flow = fm.GradientFlow(fm.KL(fm.Quadratic(0.01)), fm.WassersteinFisherRao(1.0, 1.0))
    run = fm.simulate(flow, fm.Gaussian(jnp.ones(1), 50 * jnp.eye(1)), ts,
                      observe=lambda mu: jnp.abs(mu.cov[0, 0] - 100.0),
                      stepsize_controller=FINE)  # fmt: skip
    return "log error in time, WFR", -1.02, np.exp(ts[1:]), run.ys[1:], None


def discrepancy():
    """KSD of SVGD's rest is of N^{−1/2} or better ([balasubramanian2024])."""
    numbers, ends = (10, 20, 40, 80, 160), []
    potential = lambda x: jnp.vdot(x, x) / 2  # noqa: E731
    flow = fm.GradientFlow(fm.KL(potential), fm.Stein(fm.GaussianKernel(1.0)))
    for n in numbers:
        mu = fm.Particles(1.0 + 0.5 * jr.normal(jr.key(2), (n, 2)))
        end = fm.simulate(flow, mu, [0.0, 100.0], dt=0.05, solver=diffrax.Euler()).final
        ends.append(float(fm.ksd(end, potential)))
    return "KSD of SVGD, in N", -0.5, numbers, ends, None


def draws():
    """KSD² of N independent draws is E u(X, X)/N."""
    numbers, mean, spread = (10, 20, 40, 80, 160), [], []
    potential = lambda x: jnp.vdot(x, x) / 2  # noqa: E731
    square = jax.jit(jax.vmap(lambda x: fm.ksd(fm.Particles(x), potential) ** 2))
    for n in numbers:
        found = np.asarray(square(jr.normal(jr.key(n), (400, n, 2))))
        mean.append(found.mean() ** 0.5)
        spread.append(found.std() / 20 / (2 * mean[-1]))
    return "KSD of draws, in N", -0.5, numbers, mean, spread


def chaos():
    """One of N interacting particles is off the limit by 1/N in the mean; from `chaos.py`."""
    return "chaos, in N", -1, (4, 8, 16, 32), (0.0635, 0.0336, 0.0173, 0.0089), (0.0004,) * 4


def cells():
    """The porous medium in space is of second order at most, first at the front, in L¹."""
    numbers, errors = (8, 12, 18, 24), []
    for n in numbers:
        start, end = (fm.initial.barenblatt(t, 2.0, (n,) * 3, -1.2, 1.2) for t in (0.05, 0.1))
        final = fm.simulate(fm.GradientFlow(fm.PowerEnergy(2.0)), start, [0.05, 0.1]).final
        errors.append(float(jnp.sum(jnp.abs(final.rho - end.rho)) * end.cell))
    return "Barenblatt in space, in cells", -2, numbers, errors, None


def slices():
    """Errors of k random slices are of k^{−1/2}."""
    x = fm.Particles(jr.normal(jr.key(0), (200, 3)))
    y = fm.Particles(jr.normal(jr.key(1), (200, 3)) + 0.5)
    exact, counts, mean, spread = fm.mmd(x, y, fm.EnergyDistance()) ** 2, (4, 8, 16, 32), [], []
    for k in counts:
        error = jax.jit(jax.vmap(lambda key, k=k: fm.mmd(
            x, y, fm.SlicedEnergyDistance(fm.sphere_directions(key, k, 3))) ** 2 - exact
        ))(jr.split(jr.key(k), 200))  # fmt: skip
        mean.append(float(np.sqrt(np.mean(error**2))))
        spread.append(mean[-1] / 20)
    return "slices, in their number", -0.5, counts, mean, spread


def noise():
    """SGD beside its limits, from `compare`: orders 1, 1 and 2 ([li2017])."""
    data = jr.normal(jr.key(0), (8, 2)), jr.normal(jr.key(1), (8,))
    loss = lambda theta, row: (row[0] @ theta - row[1]) ** 2 / 2  # noqa: E731
    found = fm.compare(loss, data, [0.1, 0.05, 0.025, 0.0125], jnp.ones(2))
    for (name, slope), order in zip(found.slopes.items(), (1, 1, 2, 0.5), strict=False):
        shown(f"SGD and {name}, in η", order, slope)


def shown(name, rate, slope):
    print(f"| {name} | {rate:g} | {slope.value:.3f} [{slope.lower:.3f}, {slope.upper:.3f}] |",
          flush=True)  # fmt: skip


def main():
    for study in (movements, sinkhorn, acceleration, weights, discrepancy, draws, chaos,
                  cells, slices):  # fmt: skip
        name, rate, steps, errors, deviations = study()
        spread = np.zeros(len(steps)) if deviations is None else np.asarray(deviations)
        shown(name, rate, fitted_slope(np.asarray(steps), np.asarray(errors), spread))
    noise()


if __name__ == "__main__":
    main()
