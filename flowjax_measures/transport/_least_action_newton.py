r"""The least action by Newton's method with ρs = m, m → 0 ([natale2021], [mehrotra1992]).

s, the slack in the inequality of Hamilton and Jacobi, stays positive as it stands, not only as far
as it is linear: every iterate bounds the action from below. Eliminating ρ leaves a system for φ
that couples neighbours in time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from ._block_tridiagonal import factorize, solve
from ._least_action import Action, cost_slopes, slope_of

# Of the way to the wall that a step may go, and how far it may lower the product ρs at once.
_REACH, _LEAST = 0.98, 1e-3
# Of the stiffness, relative to that of the fluxes.
_FLOOR = 1e-7
# What the gap between action and dual is driven to, relative to the action.
_TARGET = 1e-9
# What round-off may leave of it where nothing has to move, relative to a large action.
_NOTHING = 3e-10


class Optimum(NamedTuple):
    """ρ at the free times, φ of each step, the bound's multipliers, fluxes, and the dual's gap."""

    rho: Float[Array, "free n"]
    phi: Float[Array, "steps rows"]
    upper: Float[Array, "free n"]
    flux: Float[Array, "steps fluxes"]
    gap: FloatScalar
    converged: Any


def least_action(problem: Action, scale: FloatScalar, iterations: int) -> Optimum:
    """The optimum. `scale`: a large action, of which 3e-10 counts as nothing."""
    eps = jnp.finfo(problem.start.dtype).eps

    def closed(gap, action, part, nothing):
        return gap <= part * jnp.abs(action) + nothing * scale

    def further(carry):
        count, length, point = carry
        # Up to second order in what continuity misses, the action of a path that keeps it; never
        # below the dual, as with the bound's own term it might be.
        action = problem.lagrangian(point[0], point[1], jnp.zeros_like(point[2]))
        gap = jnp.abs(action - problem.dual(*point))
        moving = (count < iterations) & (length > 1e-7)
        return moving & ~closed(gap, action, max(_TARGET, 1e4 * eps), 1e-18)

    def improve(carry):
        count, _, point = carry
        length, (rho, phi, upper) = newton(problem, *point)
        if problem.end is not None:  # What changes nothing only loses digits.
            phi = phi - jnp.mean(phi, axis=0) @ problem.gauge.T @ problem.gauge
        return count + 1, length, (rho, phi, upper)

    one = jnp.ones((), problem.start.dtype)
    _, _, point = jax.lax.while_loop(further, improve, (0, one, _start(problem)))
    rho, phi, upper = point
    flux = _conserving(problem, rho, phi)
    action = problem.action(rho, flux)
    gap = action - problem.dual(rho, phi, upper)
    solved = closed(jnp.abs(gap), action, max(10 * _TARGET, 1e5 * eps), max(_NOTHING, 1e3 * eps))
    return Optimum(*point, flux, gap, solved)


def _conserving(problem: Action, rho, phi):
    """The fluxes of φ, with the least change that makes them keep the equation of continuity."""
    theta = problem.weight * problem.mobilities(problem.path(rho))
    metric = problem.step * (problem.flow * theta[:, None, :]) @ problem.flow.T
    size = jnp.trace(metric, axis1=1, axis2=2)[:, None, None] / len(problem.flow)
    metric = metric + size * problem.gauge.T @ problem.gauge
    more = jnp.linalg.solve(metric, problem.residual(rho, phi)[..., None])[..., 0]
    return -theta * ((phi + more) @ problem.flow)


def _start(problem: Action):
    """Linear in time and off the walls, with potentials that fall fast enough for s > 0."""
    begin, free = problem.start, problem.free
    mean = jnp.mean(begin)
    end = begin if problem.end is None else problem.end
    ts = (jnp.arange(1, free + 1, dtype=begin.dtype) / problem.steps)[:, None]
    rho = 0.8 * ((1 - ts) * begin + ts * end) + 0.2 * mean
    if problem.bound is not None:
        rho = jnp.minimum(rho, (problem.bound + mean) / 2)
    level = 0.1 * problem.volume * problem.step * mean
    upper = jnp.zeros_like(rho) if problem.bound is None else level / (problem.bound - rho)
    first, _ = cost_slopes(problem, rho)
    fall = (level / mean + jnp.max(jnp.maximum(-first, 0))) / problem.volume
    down = fall * (problem.steps - jnp.arange(problem.steps, dtype=begin.dtype))
    cells = jnp.arange(len(problem.flow)) < begin.size
    return rho, jnp.where(cells, down[:, None], 0), upper


def newton(problem: Action, rho, phi, upper):
    """One step towards ρs = m, by a predictor and a corrector ([mehrotra1992])."""
    h, flow, share, weight, free = (
        problem.step, problem.flow, problem.share, problem.weight, problem.free
    )  # fmt: skip
    inner = problem.steps - 1
    slopes, lower = phi @ flow, problem.slack(rho, phi) + upper
    speed = slope_of(problem.mobility)(rho)
    theta = problem.mobilities(problem.path(rho))
    bend = slope_of(jax.grad(problem.mobility))(rho)
    curvature = cost_slopes(problem, rho)[1] - h / 2 * bend * problem.around(problem.kinetic(phi))
    stiffness = curvature + lower / rho
    room = None if problem.bound is None else problem.bound - rho
    if room is not None:
        stiffness = stiffness + upper / room
    # How s changes with the potentials before and after a time.
    paid = (share.T * (weight * slopes)[:, None, :]) @ flow.T
    left = problem.after.T - h / 2 * speed[..., None] * paid[:free]
    right = -problem.before.T - h / 2 * speed[:inner, :, None] * paid[1:]
    diagonal = h * (flow * (weight * theta)[:, None, :]) @ flow.T
    # Where mass is, s and the stiffness vanish, and with them the digits of the system. A floor far
    # below what the fluxes answer with keeps them; refinement takes it off again.
    floor = problem.volume**2 / jnp.max(jnp.diagonal(diagonal, axis1=1, axis2=2))
    firm = stiffness + _FLOOR * floor
    left_soft = jnp.swapaxes(left / firm[..., None], 1, 2)
    right_soft = jnp.swapaxes(right / firm[:inner, :, None], 1, 2)
    diagonal = diagonal.at[1:].add(right_soft @ right).at[:free].add(left_soft @ left)
    if problem.end is not None:
        size = jnp.trace(diagonal[0]) / len(flow)
        diagonal = diagonal.at[0].add(size * problem.gauge.T @ problem.gauge)
    eps = float(jnp.finfo(rho.dtype).eps)
    factors = factorize(diagonal, right_soft @ left[:inner], 10 * eps)

    def change(d_phi):
        """Of s, by the potentials."""
        early = jnp.einsum("knr,kr->kn", left, d_phi[:free])
        return early.at[:inner].add(jnp.einsum("knr,kr->kn", right, d_phi[1:]))

    def spread(z):
        out = jnp.zeros_like(phi).at[:free].add(jnp.einsum("knr,kn->kr", left, z))
        return out.at[1:].add(jnp.einsum("knr,kn->kr", right, z[:inner]))

    def system(one, two):
        """spread(ρ̇) − h D c θ Dᵀφ̇ = one, change(φ̇) + stiffness · ρ̇ = two."""

        def refine(_, carry):
            d_phi, d_rho, miss_one, miss_two = carry
            more = solve(factors, spread(miss_two / firm) - miss_one)
            d_phi, d_rho = d_phi + more, d_rho + (miss_two - change(more)) / firm
            flux = (weight * theta * (d_phi @ flow)) @ flow.T
            miss_one = one - spread(d_rho) + h * flux
            return d_phi, d_rho, miss_one, two - change(d_phi) - stiffness * d_rho

        begin = (jnp.zeros_like(phi), jnp.zeros_like(rho), one, two)
        d_phi, d_rho, _, _ = jax.lax.fori_loop(0, 8, refine, begin)
        return d_phi, d_rho

    missed = problem.residual(rho, phi)

    def direction(level, bent_one, bent_two, bent_low, bent_up):
        low = (level - bent_low) / rho - lower
        up = jnp.zeros_like(rho) if room is None else (level - bent_up) / room - upper
        d_phi, d_rho = system(-missed - bent_one, low - up - bent_two)
        d_upper = up if room is None else up + upper / room * d_rho
        return d_phi, d_rho, low - lower / rho * d_rho, d_upper

    def reach(d_rho, d_low, d_upper):
        most = jnp.minimum(_room(rho, d_rho), _room(lower, d_low))
        if room is None:
            return most
        return jnp.minimum(most, jnp.minimum(_room(room, -d_rho), _room(upper, d_upper)))

    def products(length, d_rho, d_low, d_upper):
        total = jnp.mean((rho + length * d_rho) * (lower + length * d_low))
        if room is None:
            return total
        return (total + jnp.mean((room - length * d_rho) * (upper + length * d_upper))) / 2

    d_phi, *moves = direction(0.0, 0.0, 0.0, 0.0, 0.0)
    length = jnp.minimum(1, reach(*moves))
    level = products(0.0, *moves)
    centre = jnp.clip((products(length, *moves) / level) ** 3, 1e-4, 1)
    centre = jnp.maximum(centre, (1 - length) ** 2 / 2)
    # What the linear prediction left out, as far as it goes.
    d_rho, _, d_upper = moves
    part = length**2
    new = jnp.zeros_like(problem.path(rho)).at[1 : free + 1].set(speed * d_rho)
    mixed = weight * ((new[1:] + new[:-1]) / 2 @ share.T) * (d_phi @ flow)
    bent = -h / 2 * speed * problem.around(problem.kinetic(d_phi))
    d_phi, *moves = direction(
        centre * level, -h * part * mixed @ flow.T, part * bent, part * d_rho * moves[1],
        -part * d_rho * d_upper,
    )  # fmt: skip
    d_rho, _, d_upper = moves

    def moved(length):
        return rho + length * d_rho, phi + length * d_phi, upper + length * d_upper

    def too_far(length):
        """s is concave: its true change may fall below the linear one."""
        new = moved(length)
        low = problem.slack(*new[:2]) + new[2]
        least = _LEAST * (1 - length * (1 - centre)) * level
        sunk = jnp.any(new[0] * low <= least) & jnp.any(low < 0.02 * lower)
        return ~jnp.all(low > 0) | sunk

    length = jax.lax.while_loop(
        lambda a: too_far(a) & (a > 1e-8), lambda a: 0.8 * a, jnp.minimum(1, _REACH * reach(*moves))
    )
    good = ~too_far(length)
    point = jax.tree.map(
        lambda new, old: jnp.where(good, new, old), moved(length), (rho, phi, upper)
    )
    return jnp.where(good, length, 0), point


def _room(value, move):
    """The step at which the first positive entry would become zero."""
    falls = move < 0
    return jnp.min(jnp.where(falls, value / jnp.where(falls, -move, 1), jnp.inf))
