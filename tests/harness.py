"""The invariants that every catalogued system keeps, as functions of a case.

Each returns the largest violation; `test_catalogue.py` asserts that it is round-off, and
`test_harness.py` that a deliberately wrong system violates it.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from catalogue import Case
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_measures as fm
from flowjax_measures.measures._base import is_measure, replace

KEY = jr.key(7)


def difference(a: Any, b: Any) -> float:
    """The largest difference of two trees' float leaves, relative where they are large."""
    gaps = [
        np.max(np.abs(np.asarray(p) - np.asarray(q)) / (1 + np.abs(np.asarray(q))), initial=0)
        for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        if np.issubdtype(np.asarray(q).dtype, np.inexact)
    ]
    return float(max(gaps))


@eqx.filter_jit
def motion(system: fm.AbstractSystem, state: Any) -> Any:
    """The drift, and what the noise does to fixed Brownian increments."""
    return _motion(system, state)


def _motion(system, state, increments=None):
    increment = system(jnp.asarray(0.1), state)
    drift = jax.tree.map(lambda m: _moving(m), increment.drift, is_leaf=is_measure)
    if increment.noise is None:
        return drift, None
    if increments is None:
        increments = brownian(increment.noise)
    moved = increment.noise.apply(increments)
    return drift, jax.tree.map(lambda m: _moving(m), moved, is_leaf=is_measure)


def _moving(node):
    return {f: getattr(node, f) for f in node.flows} if is_measure(node) else node


def brownian(noise: Any) -> Any:
    """Fixed increments for a noise."""
    shapes, structure = jax.tree.flatten(noise.brownian())
    draws = [jr.normal(jr.fold_in(KEY, i), s.shape, s.dtype) for i, s in enumerate(shapes)]
    return jax.tree.unflatten(structure, draws)


def run(case: Case, system: fm.AbstractSystem | None = None, **kwargs) -> fm.Trajectory:
    """The case's run."""
    system = case.system if system is None else system
    return fm.simulate(system, case.state, case.ts, **{"dt": case.dt, "key": KEY} | kwargs)


def jit_is_eager(case: Case) -> float:
    return difference(motion(case.system, case.state), _motion(case.system, case.state))


def vmap_is_loop(case: Case) -> float:
    arrays, rest = eqx.partition(case.state, eqx.is_inexact_array)
    scaled = jax.tree.map(lambda a: jnp.stack([a, 0.9 * a]), arrays)
    one = lambda a: motion(case.system, eqx.combine(a, rest))  # noqa: E731
    batch = jax.vmap(one)(scaled)
    loop = [one(jax.tree.map(lambda a, i=i: a[i], scaled)) for i in range(2)]
    return difference(batch, jax.tree.map(lambda *a: jnp.stack(a), *loop))


def round_trip(case: Case) -> bool:
    leaves, structure = jax.tree.flatten((case.system, case.state))
    copy = jax.tree.unflatten(structure, leaves)
    return bool(eqx.tree_equal(copy, (case.system, case.state)))


def permutation(case: Case) -> float:
    """Relabelled particles move as before, relabelled."""
    order = jr.permutation(jr.key(1), case.state.size())
    # A space has numbers of its own, the period of a torus.
    relabel = lambda a: a[order] if jnp.ndim(a) else a  # noqa: E731
    permuted = jax.tree.map(relabel, case.state)
    drift = motion(case.system, case.state)[0]
    return difference(motion(case.system, permuted)[0], jax.tree.map(relabel, drift))


def splitting(case: Case) -> float:
    """An atom in two halves at the same place is the same atom."""
    mu = case.state
    halves = mu.log_weights().at[0].add(-np.log(2.0))
    split = replace(
        mu,
        x=jax.tree.map(lambda a: jnp.concatenate([a, a[:1]]), mu.x),
        log_w=jnp.concatenate([halves, halves[:1]]),
    )
    drift = motion(case.system, mu)[0]
    twice = jax.tree.map(lambda a: jnp.concatenate([a, a[:1]]), drift)
    return difference(motion(case.system, split)[0], twice)


def block_size(case: Case) -> float:
    tiled = replace(case.state, block=3)
    return difference(motion(case.system, tiled), motion(case.system, case.state))


def spread(state: Any, devices: int) -> tuple[Any, Any]:
    """As many of the particles of a state as devices divide: on one device, and over all."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ("particles",))
    sharding = NamedSharding(mesh, PartitionSpec("particles"))

    def even(mu):
        if not isinstance(mu, fm.Particles) or mu.size() < devices:
            return mu
        keep = lambda a: a[: mu.size() // devices * devices]  # noqa: E731
        return replace(mu, x=jax.tree.map(keep, mu.x), log_w=jax.tree.map(keep, mu.log_w))

    def apart(mu):
        many = isinstance(mu, fm.Particles) and mu.size() >= devices
        return replace(mu, sharding=sharding) if many else mu

    state = jax.tree.map(even, state, is_leaf=is_measure)
    return state, jax.tree.map(apart, state, is_leaf=is_measure)


def has_particles(state: Any) -> bool:
    measures = jax.tree.leaves(state, is_leaf=is_measure)
    return any(isinstance(mu, fm.Particles) for mu in measures)


def over_devices(case: Case, devices: int = 2) -> float:
    """Motion, and the gradient of a number of it, of particles spread over devices."""

    @jax.jit
    def both(state):
        arrays, rest = eqx.partition(state, eqx.is_inexact_array)

        def number(arrays):
            moved = _motion(case.system, eqx.combine(arrays, rest))
            leaves = jax.tree.leaves(eqx.filter(moved, eqx.is_inexact_array))
            return sum(jnp.sum(jnp.sin(a).real) for a in leaves), moved

        return jax.grad(number, has_aux=True)(arrays)

    plain, apart = spread(case.state, devices)
    return difference(jax.tree.leaves(both(apart)), jax.tree.leaves(both(plain)))


def leaves_space(final: Any) -> float:
    """How far the last state of a run is from its space."""
    measures = [m for m in jax.tree.leaves(final, is_leaf=is_measure) if is_measure(m)]
    return max(difference(m.retract(), m) for m in measures)


def is_curved(state: Any) -> bool:
    """Whether a state can leave its space at all."""
    measures = [m for m in jax.tree.leaves(state, is_leaf=is_measure) if is_measure(m)]
    return any(not isinstance(getattr(m, "space", None), fm.Euclidean | None) for m in measures)


def can_lose_mass(case: Case) -> bool:
    """Whether the mass of a case is a number that moves, and should not change."""
    drift = eqx.filter_eval_shape(lambda: case.system(jnp.asarray(0.1), case.state).drift)
    measures = [m for m in jax.tree.leaves(drift, is_leaf=is_measure) if is_measure(m)]
    grids = any(isinstance(m, fm.GridDensity) for m in measures)
    grows = any(getattr(m, "log_w", None) is not None for m in measures)
    return case.conserves and (grids or grows)


def mass_change(case: Case, final: Any) -> float:
    def masses(state):
        measures = jax.tree.leaves(state, is_leaf=is_measure)
        return jnp.stack([jax.scipy.special.logsumexp(mu.atoms()[1]) for mu in measures])

    return float(jnp.max(jnp.abs(jnp.exp(masses(final)) - jnp.exp(masses(case.state)))))


def to_float32(tree: Any) -> Any:
    single = {jnp.dtype(jnp.float64): jnp.float32, jnp.dtype(jnp.complex128): jnp.complex64}

    def cast(a):
        return a.astype(single.get(a.dtype, a.dtype)) if eqx.is_array(a) else a

    return jax.tree.map(cast, tree)


def short_run(case: Case, system: fm.AbstractSystem | None = None) -> fm.Trajectory:
    """Two Euler steps: what compiles fastest and still passes through the whole engine."""
    system = case.system if system is None else system
    end = min(case.ts[1], 0.1)
    return fm.simulate(
        system, case.state, (0.0, end), dt=end / 2, key=KEY, solver=diffrax.Euler(), throw=False
    )


def dtype_kept(case: Case) -> bool:
    final = short_run(Case(to_float32(case.system), to_float32(case.state), case.ts)).final
    # What began as a number of Python, such as a torus' length, has no type of its own.
    leaves = jax.tree_util.tree_leaves_with_path
    numbers = {path for path, a in leaves(case.state) if type(a) is float}
    kinds = {
        a.dtype for path, a in leaves(final) if eqx.is_inexact_array(a) and path not in numbers
    }
    return len(kinds) == 1 and kinds <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.complex64)}


def derivatives(case: Case) -> tuple[float, float, int]:
    """Reverse, forward and central differences of the run, field by field.

    Returns the largest relative gaps reverse − forward and reverse − differences, and the number
    of float fields.
    """
    system = jax.tree.map(lambda a: jnp.asarray(a) if type(a) is float else a, case.system)
    fields, rest = eqx.partition(system, eqx.is_inexact_array)

    def loss(fields):
        final = short_run(case, eqx.combine(fields, rest)).final
        moved = jax.tree.leaves(eqx.filter(final, eqx.is_inexact_array))
        return sum(jnp.sum(jnp.sin(a + 0.3)).real for a in moved)

    leaves, structure = jax.tree.flatten(fields)
    directions = [jr.normal(jr.fold_in(KEY, i), a.shape, a.dtype) for i, a in enumerate(leaves)]

    @jax.jit
    def everything(leaves):
        fields = jax.tree.unflatten(structure, leaves)
        value, reverse = jax.value_and_grad(loss)(fields)
        return value, reverse

    @jax.jit
    def forward(leaves, tangents):
        function = lambda a: loss(jax.tree.unflatten(structure, a))  # noqa: E731
        return jax.jvp(function, (leaves,), (tangents,))[1]

    reverse = jax.tree.leaves(everything(leaves)[1])
    gap_forward, gap_difference = 0.0, 0.0
    for i, direction in enumerate(directions):
        tangents = [d if i == j else jnp.zeros_like(d) for j, d in enumerate(directions)]
        # The gradient of a real function of complex numbers is conjugated by jax.
        slope = float(jnp.vdot(reverse[i].conj(), direction).real)
        ahead = float(forward(leaves, tangents))
        h = 1e-5
        moved = [[a + s * h * d for a, d in zip(leaves, tangents, strict=True)] for s in (1, -1)]
        central = float(everything(moved[0])[0] - everything(moved[1])[0]) / (2 * h)
        scale = max(abs(slope), 1e-2)
        gap_forward = max(gap_forward, abs(ahead - slope) / scale)
        gap_difference = max(gap_difference, abs(central - slope) / scale)
    return gap_forward, gap_difference, len(leaves)


def energy_increase(case: Case) -> float:
    """The largest increase of the declared functional along the run."""
    assert case.lyapunov is not None
    values = run(case, observe=case.lyapunov).ys
    return float(jnp.max(jnp.diff(values)))


def distance_to_exact(case: Case) -> float:
    """Mean and covariance of the last state against the closed form."""
    assert case.exact is not None
    final = run(case).final
    return difference((final.mean(), final.covariance()), case.exact(case.ts[-1]))


class Pull(fm.AbstractMeanField):
    """dx = −(α x + β (x − mean)) dt + σ dW."""

    alpha: float
    beta: float
    sigma: float | None = None

    def rates(self, t, x, mu):
        velocity = -self.alpha * x - self.beta * (x - mu.mean())
        return fm.Rates(velocity, None if self.sigma is None else fm.Isotropic(self.sigma))
