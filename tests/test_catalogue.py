"""Every invariant of the harness, for every catalogued system."""

import harness
import pytest
from catalogue import CASES

import flowjax_measures as fm

CASE = {name: make() for name, make in CASES.items()}
EVERY = list(CASE)
PARTICLES = [n for n in EVERY if isinstance(CASE[n].state, fm.Particles)]


SPREAD = [n for n in EVERY if harness.has_particles(CASE[n].state)]
# What is spread over devices by default; all else with the slow tests.
AT_ONCE = ("self-attention-causal", "energy-distance-flow", "langevin", "game")

# What compiles for long is batched, tiled and differentiated with the slow tests.
LONG = """
    accelerated-flow adam-equation blind-denoising causal-attention causal-circle
    causal-kinetic consensus-adaptive-pareto consensus-anisotropic consensus-constrained
    consensus-covariance consensus-memory consensus-mirror consensus-pareto
    consensus-polarized consensus-saddle consensus-sampling consensus-swarm dirac-frenkel
    drifting energy-distance-flow ensemble-kalman-sampler epdiff equilibrium-matching euler-2d
    heat-flow hellinger-kantorovich-brownian in-context independent-projection
    infinite-conductivity magnetic-epdiff quasi-geostrophic
    inferred-gradient jarzynski kac-flow kalman-wasserstein-flow kinetic-flow laplace-learning
    linear-attention-gaussian localized-attraction modified-equation-gaussian modified-flow
    momentum-equation natural-gradient ornstein-uhlenbeck pre-normalised random-mlp
    residual-network rmsprop-equation self-attention-heads self-interacting-langevin
    simplex-flow sinkhorn-attention sinkhorn-attention-gaussian sinkhorn-flow
    sinkhorn-flow-gaussian slice-matching stochastic-mean-field underdamped-langevin
    dean-kawasaki fleming-viot follmer-process lindblad massive-arratia stochastic-localization
    accelerated-flow-of-masses accelerated-stein cross-diffusion excluding-particles
    score-porous-medium residual-transformer
""".split()  # noqa: SIM905

# Of the others one third is batched by default, one tiled and in float32, one differentiated.
BATCHED, TILED, DIFFERENTIATED = ([n for n in EVERY if n not in LONG][k::3] for k in range(3))


def but(names):
    """What the default suite leaves to the slow tests, where it takes `names`."""
    return [n for n in EVERY if n not in names]


def named(names, slow=()):
    marks = {n: [pytest.mark.slow] for n in slow}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=marks.get(n, [])) for n in names])


def having(attribute, among=EVERY, slow=()):
    return named([n for n in among if getattr(CASE[n], attribute)], slow)


def test_what_is_long_is_catalogued():
    assert set(LONG) <= set(EVERY)


@named(EVERY, slow=but(BATCHED))
def test_jit_is_eager_and_vmap_is_loop(name):
    case = CASE[name]
    assert harness.round_trip(case)
    assert harness.jit_is_eager(case) < 1e-12
    assert harness.vmap_is_loop(case) < 1e-11


@having("exchangeable", PARTICLES, slow=but(PARTICLES[::3]))
def test_particles_have_no_order(name):
    assert harness.permutation(CASE[name]) < 1e-11


@having("splits", PARTICLES, slow=but(PARTICLES[1::3]))
def test_half_an_atom_twice_is_an_atom(name):
    assert harness.splitting(CASE[name]) < 1e-11


@named(PARTICLES, slow=but(TILED))
def test_tiles_do_not_matter(name):
    assert harness.block_size(CASE[name]) < 1e-11


@named(SPREAD, slow=[n for n in SPREAD if n not in AT_ONCE])
def test_devices_do_not_matter(name):
    assert harness.over_devices(CASE[name]) < 1e-11


@named([n for n in EVERY if harness.is_curved(CASE[n].state)])
def test_run_stays_on_its_space(name):
    case = CASE[name]
    assert harness.leaves_space(harness.run(case, dt=case.dt or 0.05).final) < 1e-14


@named([n for n in EVERY if harness.can_lose_mass(CASE[n])])
def test_run_keeps_its_mass(name):
    case = CASE[name]
    assert harness.mass_change(case, harness.run(case, dt=case.dt or 0.05).final) < 1e-13


@named(EVERY, slow=but(TILED))
def test_float32_in_float32_out(name):
    assert harness.dtype_kept(CASE[name])


@named(EVERY, slow=but(DIFFERENTIATED))
def test_reverse_is_forward_is_central_differences(name):
    forward, central, fields = harness.derivatives(CASE[name])
    assert fields == 0 or (forward < 1e-6 and central < 1e-6)


@having("lyapunov")
def test_declared_functional_never_increases(name):
    assert harness.energy_increase(CASE[name]) < 1e-12


@having("exact")
def test_exact_solution(name):
    case = CASE[name]
    assert harness.distance_to_exact(case) < case.tolerance
