"""`simulate` beside a bare `lax.scan` of the same Euler–Maruyama method, and its memory.

    python benchmarks/simulate.py

The bare scan draws the same keyed normals. CPU time, interleaved medians.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _timing import interleaved

import flowjax_measures as fm

STEPS, H = 1000, 1e-3
KEY = jr.key(0)


class Pendulums(fm.AbstractMeanField):
    """A drift that is not linear, so that the reverse pass needs the states."""

    rate: float = 1.0
    sigma: float = 0.5

    def rates(self, t, x, mu):
        return fm.Rates(-self.rate * jnp.sin(x), fm.Isotropic(self.sigma))


def bare(sigma, x):
    def step(x, k):
        z = jr.normal(jr.fold_in(KEY, k), x.shape, x.dtype)
        return x - jnp.sin(x) * H + sigma * z * np.float32(np.sqrt(H)), None

    return jax.lax.scan(step, x, jnp.arange(STEPS))[0]


def ours(sigma, x, remat="step"):
    run = fm.simulate(
        Pendulums(sigma=sigma), fm.Particles(x), [0.0, STEPS * H], dt=H, key=KEY, remat=remat
    )
    return run.final.x


def gradient(function, **options):
    loss = lambda sigma, x: jnp.sum(jnp.sin(function(sigma, x, **options)))  # noqa: E731
    return jax.jit(jax.grad(loss))


def main():
    print(f"jax {jax.__version__}, {jax.devices()[0]}, {STEPS} steps, float32")
    print("N·d     forward   gradient: none  step  sqrt | temporary MB: bare  none  step  sqrt")
    for n, d in ((20, 10), (200, 10), (2000, 10)):
        x = jr.normal(jr.key(1), (n, d), jnp.float32)
        forward = {"bare": jax.jit(bare), "ours": jax.jit(ours)}
        times = interleaved({k: (lambda f=f, x=x: f(0.5, x)) for k, f in forward.items()})
        assert jnp.allclose(forward["bare"](0.5, x), forward["ours"](0.5, x), atol=1e-3)
        reverse = {"bare": gradient(bare)} | {
            k: gradient(ours, remat=k) for k in ("none", "step", "sqrt")
        }
        slopes = interleaved({k: (lambda f=f, x=x: f(0.5, x)) for k, f in reverse.items()}, 7)
        memory = {
            k: f.lower(0.5, x).compile().memory_analysis().temp_size_in_bytes / 1e6
            for k, f in reverse.items()
        }
        ratios = "  ".join(f"{slopes[k] / slopes['bare']:5.2f}" for k in ("none", "step", "sqrt"))
        sizes = "  ".join(f"{memory[k]:6.1f}" for k in ("bare", "none", "step", "sqrt"))
        print(
            f"{n * d:6d}  {times['ours'] / times['bare']:6.2f}  ({times['bare'] * 1e3:.1f} ms)  "
            f"{ratios}  ({slopes['bare'] * 1e3:.1f} ms) | {sizes}"
        )


if __name__ == "__main__":
    main()
