r"""The 24 noiseless functions of BBOB, the black-box optimisation benchmarks, by their formulas.

`problem(number, d, seed)` draws an instance: a function of one point, for the box [−5, 5]^d, and
its minimiser, at which the value is 0. All is arrays, so that instances batch by `vmap`, and one
program runs on all functions. With the rotations and minimisers of pycma's own implementation,
all but the two of Gallagher, which were not compared, agree with it to 1e-12.

    python benchmarks/bbob.py               # values at the minimisers and around them
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

NUMBERS = range(1, 25)
GROUPS = {
    "separable": range(1, 6),
    "moderate": range(6, 10),
    "ill-conditioned": range(10, 15),
    "multimodal": range(15, 20),
    "weakly structured": range(20, 25),
}


class Problem(eqx.Module):
    """An instance: shift, two rotations, peaks where the function has some."""

    number: jax.Array
    best: jax.Array
    r: jax.Array
    q: jax.Array
    peaks: tuple

    def __call__(self, x):
        return jax.lax.switch(self.number - 1, FUNCTIONS, self, x)


def problem(number, d, seed):
    """An instance of a function."""
    draw = np.random.default_rng([number, d, seed])
    best = draw.uniform(-4.0, 4.0, d)
    signs = np.where(best > 0, 1.0, -1.0)
    r, q = rotation(draw, d), rotation(draw, d)
    peaks = drawn_peaks(number, d, draw)
    if number == 4:
        best = np.where(np.arange(d) % 2 == 0, np.abs(best), best)
    if number == 5:
        best = 5 * signs
    if number == 8:
        best = 0.75 * best
    if number in (9, 19):
        best = r.T @ np.full(d, 0.5) / stretch(d)
    if number == 20:
        best = 4.2096874633 / 2 * signs
    if number == 24:
        best = 1.25 * signs
    if number in (21, 22):
        best = peaks[0][0]
    return Problem(np.asarray(number), best, r, q, peaks)


def rotation(draw, d):
    q, r = np.linalg.qr(draw.normal(size=(d, d)))
    return q * np.sign(np.diagonal(r))


def drawn_peaks(number, d, draw):
    """Places, weights and the diagonals of the shapes of Gallagher's peaks, 101 or 21 and zeros."""
    count, top, wide, near = (21, 1e6, 4.9, 3.92) if number == 22 else (101, 1000.0, 5.0, 4.0)
    places = draw.uniform(-wide, wide, (count, d))
    places[0] *= near / wide
    others = 1000.0 ** (2 * np.arange(count - 1) / (count - 2))
    alpha = np.append(top, draw.permutation(others))[:, None]
    diagonals = draw.permuted(alpha ** np.linspace(0, 0.5, d) / alpha**0.25, axis=1)
    weights = np.append(10.0, 1.1 + 8 * np.arange(count - 1) / (count - 2))
    more = lambda a: np.concatenate([a, np.zeros((101 - count, *a.shape[1:]))])  # noqa: E731
    return more(places), more(weights), more(diagonals)


def ramp(d):
    return jnp.linspace(0.0, 1.0, d)


def stretch(d):
    return max(1.0, d**0.5 / 8)


def scales(alpha, d):
    """The diagonal of Λ^α."""
    return alpha ** (ramp(d) / 2)


def oscillated(x):
    size = jnp.log(jnp.where(x == 0, 1, jnp.abs(x)))
    fast, slow = jnp.where(x > 0, 10.0, 5.5), jnp.where(x > 0, 7.9, 3.1)
    waves = jnp.sin(fast * size) + jnp.sin(slow * size)
    return jnp.sign(x) * jnp.exp(size + 0.049 * waves)


def skewed(x, beta):
    up = jnp.where(x > 0, x, 1)
    return jnp.where(x > 0, up ** (1 + beta * ramp(x.size) * jnp.sqrt(up)), x)


def outside(x):
    return jnp.sum(jnp.maximum(jnp.abs(x) - 5, 0) ** 2)


def ripples(z):
    return 10 * jnp.sum(1 - jnp.cos(2 * jnp.pi * z)) + z @ z


def ellipsoid(z, power=6.0):
    return jnp.sum(10 ** (power * ramp(z.size)) * z**2)


def valley(z):
    return 100 * (z[:-1] ** 2 - z[1:]) ** 2 + (z[:-1] - 1) ** 2


def sphere(p, x):
    return jnp.sum((x - p.best) ** 2)


def separable_ellipsoid(p, x):
    return ellipsoid(oscillated(x - p.best))


def separable_rastrigin(p, x):
    return ripples(scales(10.0, x.size) * skewed(oscillated(x - p.best), 0.2))


def bueche(p, x):
    z = oscillated(x - p.best)
    odd = jnp.arange(x.size) % 2 == 0
    s = scales(10.0, x.size) * jnp.where(odd & (z > 0), 10, 1)
    return ripples(s * z) + 100 * outside(x)


def slope(p, x):
    s = jnp.sign(p.best) * 10 ** ramp(x.size)
    z = jnp.where(p.best * x < 25, x, p.best)
    return jnp.sum(5 * jnp.abs(s) - s * z)


def sector(p, x):
    z = p.q @ (scales(10.0, x.size) * (p.r @ (x - p.best)))
    s = jnp.where(z * p.best > 0, 100, 1)
    return oscillated(jnp.sum((s * z) ** 2)) ** 0.9


def steps(p, x):
    first = scales(10.0, x.size) * (p.r @ (x - p.best))
    wide, fine = jnp.floor(0.5 + first), jnp.floor(0.5 + 10 * first) / 10
    z = p.q @ jnp.where(jnp.abs(first) > 0.5, wide, fine)
    return 0.1 * jnp.maximum(jnp.abs(first[0]) / 1e4, ellipsoid(z, 2.0)) + outside(x)


def rosenbrock(p, x):
    return jnp.sum(valley(stretch(x.size) * (x - p.best) + 1))


def rotated_rosenbrock(p, x):
    return jnp.sum(valley(stretch(x.size) * (p.r @ x) + 0.5))


def rotated_ellipsoid(p, x):
    return ellipsoid(oscillated(p.r @ (x - p.best)))


def discus(p, x):
    z = oscillated(p.r @ (x - p.best))
    return z @ z + (1e6 - 1) * z[0] ** 2


def cigar(p, x):
    z = p.r @ skewed(p.r @ (x - p.best), 0.5)
    return 1e6 * (z @ z) - (1e6 - 1) * z[0] ** 2


def ridge(p, x):
    z = p.q @ (scales(10.0, x.size) * (p.r @ (x - p.best)))
    return z[0] ** 2 + 100 * jnp.sqrt(z[1:] @ z[1:])


def powers(p, x):
    z = jnp.abs(p.r @ (x - p.best))
    return jnp.sqrt(jnp.sum(z ** (2 + 4 * ramp(x.size))))


def rastrigin(p, x):
    z = skewed(oscillated(p.r @ (x - p.best)), 0.2)
    return ripples(p.r @ (scales(10.0, x.size) * (p.q @ z)))


def weierstrass(p, x):
    z = p.r @ (scales(0.01, x.size) * (p.q @ oscillated(p.r @ (x - p.best))))
    k = np.arange(12)
    wave = lambda z: jnp.sum(0.5**k * jnp.cos(2 * jnp.pi * 3.0**k * (z + 0.5)))  # noqa: E731
    gap = jnp.mean(jax.vmap(wave)(z)) - np.sum(0.5**k * np.cos(np.pi * 3.0**k))
    return 10 * gap**3 + 10 / x.size * outside(x)


def schaffers(p, x, alpha=10.0):
    z = scales(alpha, x.size) * (p.q @ skewed(p.r @ (x - p.best), 0.5))
    s = jnp.sqrt(z[:-1] ** 2 + z[1:] ** 2)
    return jnp.mean(jnp.sqrt(s) * (1 + jnp.sin(50 * s**0.2) ** 2)) ** 2 + 10 * outside(x)


def griewank_rosenbrock(p, x):
    s = valley(stretch(x.size) * (p.r @ x) + 0.5)
    return 10 * jnp.mean(s / 4000 - jnp.cos(s)) + 10


def schwefel(p, x):
    far = 2 * jnp.abs(p.best)
    first = 2 * jnp.where(p.best > 0, 1, -1) * x
    z = first.at[1:].add(0.25 * (first[:-1] - far[:-1]))
    z = 100 * (scales(10.0, x.size) * (z - far) + far)
    waves = jnp.mean(z * jnp.sin(jnp.sqrt(jnp.abs(z)))) / 100
    return 4.189828872724339 - waves + 100 * outside(z / 100)


def gallagher(p, x):
    places, weights, diagonals = p.peaks
    square = jnp.sum(diagonals * ((x - places) @ p.r.T) ** 2, axis=1)
    return oscillated(10 - jnp.max(weights * jnp.exp(-square / (2 * x.size)))) ** 2 + outside(x)


def katsuura(p, x):
    z = p.q @ (scales(100.0, x.size) * (p.r @ (x - p.best)))
    powers = 2.0 ** np.arange(1, 33)
    scaled = z[:, None] * powers
    rough = jnp.sum(jnp.abs(scaled - jnp.round(scaled)) / powers, axis=1)
    d = x.size
    product = jnp.prod((1 + jnp.arange(1, d + 1) * rough) ** (10 / d**1.2))
    return 10 / d**2 * (product - 1) + outside(x)


def lunacek(p, x):
    d, near = x.size, 2.5
    s = 1 - 1 / (2 * np.sqrt(d + 20) - 8.2)
    far = -np.sqrt((near**2 - 1) / s)
    first = 2 * jnp.sign(p.best) * x
    z = p.q @ (scales(100.0, d) * (p.r @ (first - near)))
    bowls = jnp.minimum(jnp.sum((first - near) ** 2), d + s * jnp.sum((first - far) ** 2))
    return bowls + 10 * jnp.sum(1 - jnp.cos(2 * jnp.pi * z)) + 1e4 * outside(x)


FUNCTIONS = (
    sphere, separable_ellipsoid, separable_rastrigin, bueche, slope, sector, steps, rosenbrock,
    rotated_rosenbrock, rotated_ellipsoid, discus, cigar, ridge, powers, rastrigin, weierstrass,
    schaffers, lambda p, x: schaffers(p, x, 1000.0), griewank_rosenbrock, schwefel, gallagher,
    gallagher, katsuura, lunacek,
)  # fmt: skip


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for number in NUMBERS:
        p = problem(number, 5, number)
        around = jr.uniform(jr.key(0), (10_000, 5), float, -5.0, 5.0)
        near = p.best + 1e-4 * jr.normal(jr.key(1), (1000, 5))
        least = [float(jnp.min(jax.vmap(p)(x))) for x in (around, near)]
        print(f"| {number} | {float(p(p.best)):.1e} | {least[0]:.2g} | {least[1]:.1e} |")
