"""The velocities at x of lines and circles that end in y, and when they are there."""

import jax
import jax.numpy as jnp


def is_free(field):
    return isinstance(field, float | int) and field == 0


def sine(rate, t):
    """sin(rate t) / rate."""
    return t * jnp.sinc(rate * t / jnp.pi)


def straight(gap, time, speed):
    time = jnp.linalg.norm(gap) / speed if time is None else jnp.asarray(time, gap.dtype)
    return gap / time, time


def on_plane(gap, s, time, speed, long):
    """The chord turns by half of what the velocity turns."""
    distance = jnp.linalg.norm(gap)
    if time is None:
        half = jnp.arcsin(distance * jnp.abs(s) / (2 * speed))
        half = jnp.sign(s) * (jnp.pi - half if long else half)
        time, speed = 2 * half / s, jnp.asarray(speed, gap.dtype)
        direction = gap / distance
    else:
        time = jnp.asarray(time, gap.dtype)
        half, speed, direction = s * time / 2, 1 / sine(s / 2, time), gap
    c, d = jnp.cos(half), jnp.sin(half)
    (p, q) = direction
    return speed * jnp.stack([c * p + d * q, c * q - d * p]), time


def on_sphere(x, y, s, time, speed, long):
    """L = |L| n with n as far from x as from y: a (x + y)/|x + y| ± √(1 − a²) x × y/|x × y|."""
    half = jnp.linalg.norm(x - y) / 2, jnp.linalg.norm(x + y) / 2  # sin d/2, cos d/2
    if time is None:
        speed = jnp.asarray(speed, x.dtype)
        rate = jnp.sqrt(speed**2 + s**2)
        angle = 2 * jnp.arcsin(half[0] * rate / speed)
        time, side = (2 * jnp.pi - angle if long else angle) / rate, -1 if long else 1
    else:
        time = jnp.asarray(time, x.dtype)
        speed = _slowest(half, s, time)
        rate = jnp.sqrt(speed**2 + s**2)
        side = jnp.where(rate * time % (2 * jnp.pi) < jnp.pi, 1, -1)
    middle, normal = (x + y) / (2 * half[1]), jnp.cross(x, y)
    normal = normal / jnp.linalg.norm(normal)
    a = s / (rate * half[1])
    n = a * middle + side * jnp.sqrt(1 - a**2) * normal
    return jnp.cross(rate * n, x), time


def _slowest(half, s, time):
    """The least v with v|sin(|L| T/2)|/|L| = sin(d/2)."""
    high = lambda v: jnp.sin(jnp.sqrt(v**2 + s**2) * time / 2) ** 2 * v**2 / (v**2 + s**2)  # noqa: E731
    miss = lambda v: high(v) - half[0] ** 2  # noqa: E731
    least = jnp.abs(s) * half[0] / half[1]  # No circle of a slower one is wide enough.
    turns = jnp.ceil((jnp.sqrt(least**2 + s**2) * time / jnp.pi - 1) / 2)
    most = jnp.sqrt(((1 + 2 * jnp.maximum(turns, 0)) * jnp.pi / time) ** 2 - s**2)
    tries = least + (most - least) * jnp.linspace(0, 1, 257, dtype=least.dtype)
    first = jnp.argmax(jax.vmap(miss)(tries[1:]) >= 0)

    def halve(ends, _):
        middle = (ends[0] + ends[1]) / 2
        above = miss(middle) >= 0
        return (jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])), None

    (_, v), _ = jax.lax.scan(halve, (tries[first], tries[first + 1]), length=60)
    v = jax.lax.stop_gradient(v)
    # A step of Newton's method has the derivative of the root.
    return v - miss(v) / jax.lax.stop_gradient(jax.grad(miss)(v))
