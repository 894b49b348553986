"""Fluids on tori and the sphere against exact waves; geodesics between two points."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import sph_harm_y

import flowjax_measures as fm
from flowjax_measures._numerics._harmonics import Harmonics
from flowjax_measures._numerics._waves import Waves


def torus(*shape, length=2 * np.pi):
    lines = [length * jnp.arange(float(n)) / n for n in shape]
    return jnp.meshgrid(*lines, indexing="ij")


def smooth(shape, length=2 * np.pi, components=()):
    """A random field of the waves that are kept, of mean zero."""
    waves = Waves(shape, length, jnp.zeros(()).dtype)
    axes = tuple(range(-len(shape), 0))
    field = waves.back(waves.forward(jr.normal(jr.key(0), (*components, *shape))))
    return field - field.mean(axes, keepdims=True)


def along(functional, state, drift):
    return abs(jax.jvp(functional, (state,), (drift,))[1])


X, Y = torus(20, 18)


@pytest.mark.parametrize(
    ("law", "start", "end"),
    [
        # Taylor and Green: a steady state of Euler's equations that decays.
        (dict(viscosity=0.1), jnp.cos(2 * X) * jnp.cos(Y), lambda t: np.exp(-0.5 * t)),
        # Two waves of one length: they do not see each other.
        (dict(viscosity=0.2), jnp.cos(2 * X + Y) + jnp.sin(X - 2 * Y), lambda t: np.exp(-t)),
    ],
)
def test_vortices_decay(law, start, end):
    run = fm.simulate(fm.Euler2D(**law), start, [0.0, 1.0], dt=0.02)
    np.testing.assert_allclose(run.final, end(1.0) * start, atol=1e-9)


def test_rossby_waves_move_west_in_a_wind():
    law = fm.Euler2D(beta=0.7, mean=(0.3, -0.2))
    run = fm.simulate(law, jnp.cos(2 * X + Y), [0.0, 1.0], dt=0.02)
    phase = 2 * 0.3 - 0.2 - 0.7 * 2 / 5
    np.testing.assert_allclose(run.final, jnp.cos(2 * X + Y - phase), atol=1e-10)


def test_kelvin_waves_of_a_shear():
    law, time = fm.Euler2D(viscosity=0.01, shear=0.5), 2.0
    run = fm.simulate(law, jnp.cos(X + 2 * Y), [0.0, time], dt=0.02)
    square = lambda t: 1 + (2 - 0.5 * t) ** 2  # noqa: E731
    nodes, weights = np.polynomial.legendre.leggauss(8)
    decay = np.exp(-0.01 * time / 2 * weights @ square(time / 2 * (1 + nodes)))
    np.testing.assert_allclose(run.final, decay * jnp.cos(X + 2 * Y), atol=1e-9)
    # Orr's mechanism: the energy grows as the wave is turned upright.
    np.testing.assert_allclose(
        law.energy(run.final, time), np.pi**2 * decay**2 / square(time), rtol=1e-8
    )


def test_euler_keeps_energy_and_enstrophy():
    law = fm.Euler2D(beta=0.3, length=jnp.array([2.0, 3.0]))
    omega = smooth((12, 14), law.length)
    drift = law(0.0, omega).drift
    assert along(law.energy, omega, drift) < 1e-13
    assert along(law.enstrophy, omega, drift) < 1e-13
    np.testing.assert_allclose(law.vorticity(law.velocity(omega)), omega, atol=1e-13)


def test_helical_waves_of_a_charged_fluid():
    *_, z = torus(4, 4, 8)
    wave = lambda phase: jnp.stack([jnp.sin(2 * z - phase), jnp.cos(2 * z - phase), 0 * z])  # noqa: E731
    law = fm.InfiniteConductivity(jnp.array([0.3, 0.0, 2.0]))
    np.testing.assert_allclose(law.vorticity(wave(0.0)), 2 * wave(0.0), atol=1e-13)
    run = fm.simulate(law, wave(0.0), [0.0, 1.0], dt=0.02)
    np.testing.assert_allclose(run.final, wave(2.0), atol=1e-9)


def test_charged_fluids_keep_energy_and_helicity():
    law = fm.InfiniteConductivity(jnp.array([0.3, 0.1, 2.0]), jnp.array([1.0, 2.0, 3.0]))
    u = law.project(smooth((7, 8, 7), law.length, (3,)))
    drift = law(0.0, u).drift
    scale = float(law.energy(u))
    assert along(law.energy, u, drift) < 1e-13 * scale
    assert along(law.helicity, u, drift) < 1e-12 * scale
    # In the plane the vorticity less the field is carried along.
    flat = fm.InfiniteConductivity(lambda p: jnp.sin(p[0]) + jnp.cos(2 * p[1]))
    u = flat.project(smooth((18, 18), components=(2,)))
    field = jnp.sin(torus(18, 18)[0]) + jnp.cos(2 * torus(18, 18)[1])
    rate = flat.vorticity(flat(0.0, u).drift)
    omega = flat.vorticity(u)
    velocity = fm.Euler2D().velocity(omega)
    np.testing.assert_allclose(velocity, u, atol=1e-13)
    waves = Waves((18, 18), 2 * np.pi, u.dtype)
    slope = [waves.back(waves.slope(waves.forward(omega - field), i)) for i in range(2)]
    exact = -waves.back(waves.forward(velocity[0] * slope[0] + velocity[1] * slope[1]))
    np.testing.assert_allclose(rate, exact, atol=1e-12)
    assert along(flat.energy, u, flat(0.0, u).drift) < 1e-13


def test_magnetic_epdiff_is_camassa_and_holms_equation_on_the_line():
    line = fm.EulerArnold(drift=0.8)
    u = smooth((24,))
    law = fm.MagneticEPDiff(field=jnp.array([0.4]))
    np.testing.assert_allclose(law(0.0, u[None]).drift[0], line(0.0, u).drift, atol=1e-12)
    # Along a diagonal of the plane, where Δ is twice as large and A has two components.
    diagonal = jnp.fft.irfft(jnp.fft.rfft(u) * (jnp.arange(13.0) < 5).astype(complex), 24)
    i, j = np.indices((24, 24))
    plane = fm.MagneticEPDiff(field=jnp.array([0.2, 0.2]), alpha=np.sqrt(0.5))
    drift = plane(0.0, jnp.stack([diagonal[(i + j) % 24]] * 2) / 2).drift
    np.testing.assert_allclose(drift[0] * 2, line(0.0, diagonal).drift[(i + j) % 24], atol=1e-12)


def test_magnetic_epdiff_keeps_energy_and_momentum():
    field = lambda p: jnp.stack([jnp.sin(p[1]), 1 + jnp.cos(p[0])])  # noqa: E731
    law = fm.MagneticEPDiff(field, 0.5, 1.5)
    u = smooth((12, 14), components=(2,))
    assert along(law.energy, u, law(0.0, u).drift) < 1e-13 * float(law.energy(u))
    np.testing.assert_allclose(law.velocity(law.momentum(u)), u, atol=1e-13)
    constant = fm.MagneticEPDiff(jnp.array([0.3, 0.1]))
    rate = constant.momentum(constant(0.0, u).drift)
    np.testing.assert_allclose(rate.mean((1, 2)), 0, atol=1e-13)


@pytest.mark.parametrize("s", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_hunter_saxton_is_a_geodesic_of_a_sphere(s):
    n, time = 64, 0.1
    x = np.arange(n) / n
    law = fm.TwoComponentHunterSaxton(s)
    u = 0.3 * np.cos(2 * np.pi * x) + 0.1 * np.sin(4 * np.pi * x) + 0.2
    start = jnp.stack([u, 0.5 + 0.3 * np.sin(2 * np.pi * x)])
    assert along(law.energy, start, law(0.0, start).drift) < 1e-14
    run = fm.simulate(law, start, [0.0, time], dt=0.002)
    z, speed = jax.jvp(lambda t: law.geodesic(start, t), (jnp.asarray(time),), (jnp.asarray(1.0),))
    stretch, fields = np.abs(z) ** 2, 2 * np.asarray(speed / z)
    np.testing.assert_allclose(stretch.mean(), 1)
    # Laws of values need no places: ∫ F(u_x, ρ) dx = ∫ F∘φ φ_x dx.
    waves = Waves((n,), 1.0, start.dtype)
    slope = waves.back(waves.slope(waves.forward(run.final[0]), 0))
    for power in (1, 2, 3):
        for here, there in ((slope, fields.real), (run.final[1], fields.imag)):
            np.testing.assert_allclose(
                np.mean(here**power), (there**power * stretch).mean(), atol=1e-9
            )


def test_hunter_saxton_connects_the_identity_with_any_diffeomorphism():
    x = jnp.arange(48.0) / 48
    stretch = 1 + 0.4 * jnp.cos(2 * jnp.pi * x)
    phase = 0.3 * jnp.sin(2 * jnp.pi * x)
    z = jax.lax.complex(jnp.sqrt(stretch) * jnp.cos(phase), jnp.sqrt(stretch) * jnp.sin(phase))
    law = fm.TwoComponentHunterSaxton()
    state = law.logarithm(z)
    np.testing.assert_allclose(law.geodesic(state, 1.0), z, atol=1e-7)
    length = np.arccos(np.mean(np.real(z)))
    np.testing.assert_allclose(jnp.sqrt(law.energy(state)), length, rtol=1e-7)
    with pytest.raises(ValueError, match="`field`"):
        fm.TwoComponentHunterSaxton(0.5).logarithm(z)


def test_hunter_saxton_breaks_where_the_sphere_says():
    x = jnp.arange(64.0) / 64
    u = 0.3 * jnp.cos(2 * jnp.pi * x)
    still = jnp.stack([u, 0 * x])
    law, c = fm.TwoComponentHunterSaxton(), 0.3 * np.pi / np.sqrt(2)
    # tan(ct) = −2c/u_x at the steepest point.
    exact = (np.pi - np.arctan(2 * c / (0.6 * np.pi))) / c
    exact = min(exact, np.arctan(2 * c / (0.6 * np.pi)) / c)
    np.testing.assert_allclose(law.blow_up_time(still), exact, rtol=1e-12)
    assert law.blow_up_time(jnp.stack([u, 1 + 0 * x])) == jnp.inf
    magnetic = fm.TwoComponentHunterSaxton(1.0)
    state = jnp.stack([u, 1 + 0 * x])
    time = magnetic.blow_up_time(state)
    assert float(jnp.min(jnp.abs(magnetic.geodesic(state, time)))) < 1e-12
    assert float(jnp.min(jnp.abs(magnetic.geodesic(state, 0.99 * time)))) > 1e-3


def test_rossby_haurwitz_waves():
    """Two harmonics of degree 5 in a fluid that turns half a radian a unit of time faster."""
    latitude, longitude = fm.sphere_grid(12)
    z, c = jnp.sin(latitude)[:, None], jnp.cos(latitude)[:, None]
    spin, more = 2.0, 0.5
    law = fm.QuasiGeostrophic(rotation=spin)

    def state(longitude):
        high = 0.7 * jnp.cos(4 * longitude) * c**4 * z
        return high + 0.3 * jnp.sin(2 * longitude) * c**2 * (3 * z**3 - z) + 2 * more * z

    run = fm.simulate(law, state(longitude), [0.0, 1.0], dt=0.02)
    rate = more - 2 * (spin + more) / 30
    np.testing.assert_allclose(run.final, state(longitude - rate), atol=1e-10)


def test_waves_of_a_yielding_surface():
    """Linear waves of one order against a matrix of SciPy's harmonics."""
    latitude, longitude = fm.sphere_grid(12)
    gamma, m = 2.5, 2
    z, weights = np.polynomial.legendre.leggauss(24)
    degree = np.arange(m, 8)
    theta = np.arccos(z)
    y = np.sqrt(2 * np.pi) * np.stack([np.real(sph_harm_y(l, m, theta, 0.0)) for l in degree])  # noqa: E741
    operator = -np.diag(degree * (degree + 1.0)) - gamma * (y * weights * z**2) @ y.T
    values, vectors = np.linalg.eigh(operator)
    here = np.stack([np.real(sph_harm_y(l, m, np.pi / 2 - latitude, 0.0)) for l in degree])  # noqa: E741
    wave = 1e-7 * jnp.asarray(vectors[:, -1] @ here)[:, None]
    law = fm.QuasiGeostrophic(1.0, gamma)
    start = wave * jnp.cos(m * longitude)
    # Of degrees up to 7, the grid's own.
    np.testing.assert_allclose(law.stream_function(start), start / values[-1], atol=1e-18)
    drift = law(0.0, start).drift
    np.testing.assert_allclose(
        drift, 2 * m / values[-1] * wave * jnp.sin(m * longitude), atol=1e-13
    )


@pytest.mark.parametrize("gamma", [pytest.param(0.0, marks=pytest.mark.slow), 3.0])
def test_the_sphere_keeps_energy_and_enstrophy(gamma):
    law, sphere = fm.QuasiGeostrophic(1.3, gamma), Harmonics((8, 16), jnp.zeros(()).dtype)
    omega = sphere.back(sphere.forward(jr.normal(jr.key(0), (8, 16))))
    omega = omega - sphere.mean(omega)
    drift = law(0.0, omega).drift
    assert along(law.energy, omega, drift) < 1e-13
    assert along(law.enstrophy, omega, drift) < 1e-13
    psi = law.stream_function(omega)
    np.testing.assert_allclose(law.vorticity(psi), omega, atol=1e-12)
    kinetic = jnp.sum(law.velocity(omega) ** 2, 0) + gamma * sphere.z[:, None] ** 2 * psi**2
    np.testing.assert_allclose(law.energy(omega), 2 * np.pi * sphere.mean(kinetic))


def _shot(arc, space):
    """Where a charge is at the end of the curve, by integrating its equation."""
    space = fm.PhaseSpace(space) if isinstance(space, fm.Sphere) else fm.Euclidean()
    start = fm.Particles(fm.Phase(arc.start[None], arc.velocity[None]), space=space)
    run = fm.simulate(
        fm.MagneticGeodesic(arc.field), start, jnp.stack([0 * arc.time, arc.time]), steps=100
    )
    return run.final.x.q[0]


ENDS = jnp.array([[1.0, 0.0, 0.0], [1 / 3, -2 / 3, 2 / 3]])
GIVEN = [
    dict(field=0.5, speed=2.0),
    pytest.param(dict(field=-0.5, speed=2.0, long=True), marks=pytest.mark.slow),
    dict(field=3.0, time=2.5),
    pytest.param(dict(field=0.5, time=9.0), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("given", GIVEN)
def test_geodesics_between_points(given):
    a, b = ENDS
    sphere = fm.Sphere()
    arc = fm.geodesic_between(a, b, sphere, **given)
    np.testing.assert_allclose(arc.position(arc.time), b, atol=1e-12)
    np.testing.assert_allclose(arc.position(arc.period), a, atol=1e-12)
    np.testing.assert_allclose(_shot(arc, sphere), b, atol=1e-7)
    np.testing.assert_allclose(arc.velocity @ a, 0, atol=1e-14)
    torus, p, q = fm.Torus(), jnp.array([0.1, 0.9]), jnp.array([0.8, 0.2])
    arc = fm.geodesic_between(p, q, torus, **given)
    assert torus.distance(arc.position(arc.time), q) < 1e-12
    assert torus.distance(arc.position(arc.period), p) < 1e-12
    assert torus.distance(_shot(arc, torus), q) < 1e-7


def test_geodesics_without_a_field_and_around_a_torus():
    a, b = fm.initial.uniform_on_sphere(jr.key(0), 2, 5).x
    arc = fm.geodesic_between(a, b, fm.Sphere(), time=2.0)
    np.testing.assert_allclose(arc.length, fm.Sphere().distance(a, b))
    np.testing.assert_allclose(arc.position(2.0), b, atol=1e-14)
    p = jnp.array([0.1, 0.9])
    loop = fm.geodesic_between(p, p, fm.Torus(), winding=(3, 4), speed=2.0)
    np.testing.assert_allclose((loop.length, loop.time), (5.0, 2.5))


@pytest.mark.slow
def test_the_derivative_of_a_geodesic_in_the_field():
    a, b = ENDS
    start = lambda s: fm.geodesic_between(a, b, fm.Sphere(), field=s, time=1.3).velocity  # noqa: E731
    exact = jax.jacfwd(start)(0.7)
    np.testing.assert_allclose(exact, (start(0.7 + 1e-5) - start(0.7 - 1e-5)) / 2e-5, rtol=1e-7)


def test_geodesics_that_do_not_exist():
    a, b = ENDS
    with pytest.raises(ValueError, match="`speed`"):
        fm.geodesic_between(a, b, fm.Sphere(), field=5.0, speed=0.1)
    with pytest.raises(ValueError, match="antipodes"):
        fm.geodesic_between(a, -a, fm.Sphere())
    with pytest.raises(ValueError, match="`winding`"):
        fm.geodesic_between(a, b, winding=1)
    with pytest.raises(ValueError, match="`field`"):
        fm.geodesic_between(a, b, field=1.0)
    assert jnp.isnan(fm.geodesic_between(a * jnp.nan, b, fm.Sphere(), field=1.0).velocity).all()
