"""Open quantum systems against the exponential of their generator and closed forms of a qubit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import flowjax_measures as fm

X = jnp.array([[0.0, 1.0], [1.0, 0.0]])
Z = jnp.diag(jnp.array([1.0, -1.0]))
RATES = np.array([0.5, 0.2])


def matrices(d, n, seed=0):
    z = np.random.default_rng(seed).normal(size=(2, n, d, d))
    return z[0] + 1j * z[1]


def state(d):
    (a,) = matrices(d, 1, 5)
    rho = a @ a.conj().T
    return jnp.asarray((rho + rho.conj().T) / (2 * np.trace(rho).real))


def law(d=3):
    a, *jumps = matrices(d, 3)
    return fm.Lindblad((a + a.conj().T) / 2, jumps, RATES)


@pytest.mark.slow
def test_three_levels_are_the_exponential_of_the_generator():
    system, rho = law(), state(3)
    run = fm.simulate(system, rho, [0.0, 0.4, 1.0])
    identity = np.eye(3)
    h, jumps = np.asarray(system.hamiltonian), np.asarray(system.jumps)
    generator = -1j * (np.kron(h, identity) - np.kron(identity, h.T))
    for rate, jump in zip(RATES, jumps, strict=True):
        number = jump.conj().T @ jump
        generator += rate * np.kron(jump, jump.conj())
        generator -= rate / 2 * (np.kron(number, identity) + np.kron(identity, number.T))
    np.testing.assert_allclose(system.superoperator(), generator, atol=1e-14)
    for t, found in zip(run.ts, run.ys, strict=True):
        exact = (expm(generator * float(t)) @ np.asarray(rho).ravel()).reshape(3, 3)
        np.testing.assert_allclose(found, exact, atol=2e-8)
        np.testing.assert_allclose(np.trace(found), 1, atol=1e-13)
        np.testing.assert_allclose(found, found.conj().T, atol=1e-15)
        assert np.linalg.eigvalsh(found)[0] > 0
    rest = system.stationary()
    np.testing.assert_allclose(generator @ np.asarray(rest).ravel(), 0, atol=1e-14)
    far = fm.simulate(system, rho, [0.0, 20 / float(system.gap())]).final
    np.testing.assert_allclose(far, rest, atol=1e-7)


def test_a_qubit_loses_energy_and_phase():
    omega, loss, phase, t = 1.3, 0.7, 0.4, 0.9
    lower = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    system = fm.Lindblad(omega / 2 * Z, [lower, Z], [loss, phase])
    rho = state(2)
    found = fm.simulate(system, rho, [0.0, t], dt=0.01).final
    coherence = complex(rho[0, 1]) * np.exp(-1j * omega * t - (loss / 2 + 2 * phase) * t)
    np.testing.assert_allclose(found[1, 1], complex(rho[1, 1]) * np.exp(-loss * t), atol=1e-9)
    np.testing.assert_allclose(found[0, 1], coherence, atol=1e-8)
    np.testing.assert_allclose(system.gap(), min(loss, loss / 2 + 2 * phase), atol=1e-12)


def test_a_heat_bath_leaves_the_gibbs_state():
    energies, beta = jnp.array([0.0, 0.4, 1.1]), 1.7
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    jumps = [jnp.zeros((3, 3)).at[j, i].set(1.0) for i, j in pairs]
    rates = [np.exp(-beta * (energies[j] - energies[i]) / 2) for i, j in pairs]
    rest = fm.Lindblad(jnp.diag(energies), jumps, jnp.stack(rates)).stationary()
    gibbs = np.exp(-beta * energies)
    np.testing.assert_allclose(rest, np.diag(gibbs / gibbs.sum()), atol=1e-14)


def decay(values):
    """The slope of the logarithm of what is left, over the second half of a run."""
    half = len(values) // 2
    return -np.polyfit(np.arange(half), np.log(values[half : 2 * half]), 1)[0]


@pytest.mark.parametrize(
    "gamma", [2.5, *(pytest.param(gamma, marks=pytest.mark.slow) for gamma in (0.5, 1.0))]
)
def test_degenerate_dissipation_decays_as_friction_does(gamma):
    # Of Bloch's vector the equation is ẏ = −ωz − 2γy, ż = ωy, a damped oscillator as Langevin's.
    omega, ts = 1.0, np.linspace(0.0, 24.0, 49)
    system = fm.Lindblad(omega / 2 * X, [Z], gamma)
    rate = gamma - np.sqrt(max(gamma**2 - omega**2, 0.0))
    np.testing.assert_allclose(system.gap(), rate, atol=1e-7)
    rho = jnp.array([[0.9, 0.1j], [-0.1j, 0.1]])
    left = lambda r: jnp.abs(r[0, 0] - r[1, 1]) ** 2 + 4 * jnp.abs(r[0, 1]) ** 2  # noqa: E731
    quantum = fm.simulate(system, rho, ts, dt=0.02, observe=left).ys
    classical = fm.simulate(
        fm.UnderdampedLangevin(fm.Quadratic(omega**2), 2 * gamma),
        fm.Gaussian(jnp.array([0.8, 0.2]), jnp.diag(jnp.array([1 / omega**2, 1.0]))),
        ts,
        dt=0.02,
        observe=lambda mu: jnp.sum(mu.m**2),
    ).ys
    for values in (quantum, classical):
        # Where γ = ω the decay is t² e^{−2γt}; where it oscillates its slope does.
        assert abs(decay(values) / 0.5 / 2 - rate) < (0.01 if gamma > 1 else 0.15)


@pytest.mark.slow
def test_gradients_are_differences():
    def loss(hamiltonian, jump, rate):
        system = fm.Lindblad(hamiltonian * X + 0.3 * Z, jnp.stack([Z, jump * X @ Z + Z]), rate)
        final = fm.simulate(system, state(2), [0.0, 0.5], dt=0.05).final
        return final[0, 1].imag + system.stationary()[0, 0].real + system.gap()

    point = (0.7, 0.4, jnp.array([0.3, 0.2]))
    slopes = jax.grad(loss, argnums=(0, 1, 2))(*point)
    for i in range(3):
        move = lambda h, i=i: [p + h * (i == j) for j, p in enumerate(point)]  # noqa: E731
        central = (loss(*move(1e-5)) - loss(*move(-1e-5))) / 2e-5
        np.testing.assert_allclose(np.sum(slopes[i]), central, rtol=1e-6)


def test_what_is_not_a_state_or_a_law_is_refused_by_name():
    with pytest.raises(ValueError, match="`hamiltonian` is not Hermitian"):
        fm.Lindblad(jnp.array([[0.0, 1.0], [0.0, 0.0]]), ())
    with pytest.raises(ValueError, match="`hamiltonian` holds NaN"):
        fm.Lindblad(jnp.full((2, 2), jnp.nan), ())
    with pytest.raises(ValueError, match="`rates`"):
        fm.Lindblad(X, [Z], -1.0)
    with pytest.raises(ValueError, match="`jumps`"):
        fm.Lindblad(X, [jnp.eye(3)])
    with pytest.raises(ValueError, match="complex"):
        fm.simulate(fm.Lindblad(X, [Z]), jnp.eye(2) / 2, [0.0, 1.0])
    # Without a jump every function of H stays.
    assert np.all(np.isnan(fm.Lindblad(Z, ()).stationary()))
    np.testing.assert_allclose(fm.Lindblad(Z, ()).gap(), 0, atol=1e-14)
