r"""Measured orders of the solvers, at constant steps in float64.

    python benchmarks/orders.py

Without noise: a mean-field rotation with a clock, against Dopri8 at a tiny step; on the sphere,
attention. With noise: dX = aX dt + bX dW beside X(T) = X(0) e^{(a − b²/2)T + bW(T)} of the same
W(T), which the state carries along: the root mean square of the gap is the strong error, its mean
the weak one, with a standard error from the pairs. Slopes are of least squares in logarithms.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import flowjax_measures as fm

A, B, PATHS = 0.5, 0.8, 200_000
FLAT = {
    "Euler": 1, "Heun": 2, "Midpoint": 2, "Ralston": 2, "Bosh3": 3, "Tsit5": 5, "Dopri5": 5,
    "Dopri8": 8, "LeapfrogMidpoint": 2, "ReversibleHeun": 2,
}  # fmt: skip
NOISY = {
    "Euler": (0.5, 1), "Heun": (0.5, 1), "Midpoint": (0.5, 1), "EulerHeun": (0.5, 1),
    "StratonovichMilstein": (1, 1), "SPaRK": (0.5, 1), "GeneralShARK": (0.5, 1),
    "SlowRK": (0.5, 1),
}  # fmt: skip


class Turning(fm.AbstractMeanField):
    """ẋ = Rx + sin t + (mean − x)/2, nonlinear in the radius."""

    def rates(self, t, x, mu):
        turn = jnp.stack([-x[1], x[0]])
        return fm.Rates(turn * (1 + 0.3 * jnp.sin(x[0])) + (mu.mean() - x) / 2 + jnp.sin(t))


class Geometric(fm.AbstractMeanField):
    """(X, W): dX = aX dt + bX dW, dW = dW."""

    def rates(self, t, x, mu):
        noise = fm.Dense(jnp.stack([B * x[0], jnp.ones_like(x[0])])[:, None])
        return fm.Rates(jnp.stack([A * x[0], jnp.zeros_like(x[0])]), noise)


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def deterministic():
    points = fm.Particles(jax.random.normal(jax.random.key(0), (5, 2)))
    tokens = fm.initial.uniform_on_sphere(jax.random.key(1), 6, 3)
    for space, law, mu in (
        ("flat", Turning(), points),
        ("sphere", fm.SelfAttention(beta=4.0), tokens),
    ):

        def end(solver, h, law=law, mu=mu):
            return fm.simulate(law, mu, [0.0, 1.0], dt=h, solver=solver).final.x

        truth = end(diffrax.Dopri8(), 1 / 400)
        for name, order in FLAT.items():
            steps = np.array([1 / 10, 1 / 20, 1 / 40]) if order < 8 else np.array([1 / 3, 1 / 6])
            errors = [np.max(np.abs(end(getattr(diffrax, name)(), h) - truth)) for h in steps]
            print(f"{space:7} {name:22} order {order}   measured {slope(steps, errors):.2f}",
                  flush=True)  # fmt: skip
    ours = {
        "Strang": (fm.Strang(), 2), "GeodesicEuler": (fm.GeodesicEuler(), 1),
        "SmallNoiseHeun": (fm.SmallNoiseHeun(), 2),
    }  # fmt: skip
    truth = fm.simulate(Turning(), points, [0.0, 1.0], dt=1 / 400, solver=diffrax.Dopri8()).final.x
    zero = fm.Custom(lambda t, x, mu: 0.2 * jnp.stack([-(x[1] ** 2), x[0]]))
    both = fm.simulate(
        Turning() + zero, points, [0.0, 1.0], dt=1 / 400, solver=diffrax.Dopri8()
    ).final.x
    for name, (solver, order) in ours.items():
        law, reference = (Turning() + zero, both) if name == "Strang" else (Turning(), truth)
        steps = np.array([1 / 10, 1 / 20, 1 / 40])
        errors = [
            np.max(np.abs(fm.simulate(law, points, [0.0, 1.0], dt=h, solver=solver).final.x
                          - reference))
            for h in steps
        ]  # fmt: skip
        print(f"flat    {name:22} order {order}   measured {slope(steps, errors):.2f}", flush=True)


def stochastic():
    start = fm.Particles(jnp.tile(jnp.array([1.0, 0.0]), (PATHS, 1)))
    for name, (strong, weak) in NOISY.items():
        steps, rows = np.array([1 / 4, 1 / 8, 1 / 16, 1 / 32]), []
        for h in steps:
            run = fm.simulate(
                Geometric(), start, [0.0, 1.0], dt=h, key=jax.random.key(0),
                solver=getattr(diffrax, name)(),
            )  # fmt: skip
            x, w = run.final.x.T
            gap = x - jnp.exp(A - B**2 / 2 + B * w)
            rows.append((jnp.sqrt(jnp.mean(gap**2)), jnp.mean(gap), jnp.std(gap) / PATHS**0.5))
        rms, mean, error = np.abs(np.array(rows)).T
        seen = mean > 4 * error
        low = f"{slope(steps[seen], mean[seen]):.2f}" if seen.sum() > 1 else "below the noise"
        print(f"noise   {name:22} strong {strong} measured {slope(steps, rms):.2f}   "
              f"weak {weak} measured {low}", flush=True)  # fmt: skip


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    deterministic()
    stochastic()
