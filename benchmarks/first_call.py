r"""The first result and the second call: processes that each make one call, import left out.

    python benchmarks/first_call.py

CPU seconds of the first call, ours and a program by hand, interleaved, medians of fresh processes;
then microseconds of a second call of `simulate` beside `jax.jit` of the same steps.
"""

import statistics
import subprocess
import sys

PROBLEMS = {
    "attention": (
        """
mu = fm.Particles(x / jnp.linalg.norm(x, axis=1, keepdims=True), space=fm.Sphere())
go = lambda: fm.simulate(fm.SelfAttention(beta=4.0), mu, [0.0, 5.0], dt=0.05).final.x
""",
        """
def field(x):
    w = jax.nn.softmax(4.0 * x @ x.T, axis=1)
    v = w @ x
    return v - jnp.sum(x * v, axis=1, keepdims=True) * x
term = diffrax.ODETerm(lambda t, y, a: field(y))
y0 = x / jnp.linalg.norm(x, axis=1, keepdims=True)
go = jax.jit(lambda: diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, 5.0, 0.05, y0).ys)
""",
    ),
    "consensus": (
        """
f = lambda y: jnp.sum(y**2 - 10 * jnp.cos(2 * jnp.pi * y))
mu, key = fm.Particles(x), jax.random.key(1)
go = lambda: fm.simulate(fm.ConsensusBased(f), mu, [0.0, 5.0], dt=0.05, key=key).final.x
""",
        """
f = lambda y: jnp.sum(y**2 - 10 * jnp.cos(2 * jnp.pi * y))
def step(y, k):
    w = jax.nn.softmax(-30.0 * jax.vmap(f)(y))
    away = y - w @ y
    z = jax.random.normal(jax.random.fold_in(jax.random.key(1), k), y.shape)
    return y - 0.05 * away + 0.7 * 0.05**0.5 * away * z, None
go = jax.jit(lambda: jax.lax.scan(step, x, jnp.arange(100))[0])
""",
    ),
    "MMD flow": (
        """
flow = fm.GradientFlow(fm.MMD(fm.Particles(x + 1), fm.GaussianKernel(1.0)))
go = lambda: fm.simulate(flow, fm.Particles(x), [0.0, 1.0], dt=0.05, solver=diffrax.Euler()).final.x
""",
        """
def potential(p, cloud):
    return jnp.mean(jnp.exp(-jnp.sum((p - cloud) ** 2, axis=1) / 2))
def step(y, _):
    v = jax.vmap(lambda p: jax.grad(potential)(p, x + 1) - jax.grad(potential)(p, y))(y)
    return y + 0.05 * v, None
go = jax.jit(lambda: jax.lax.scan(step, x, length=20)[0])
""",
    ),
}

FRAME = """
import time, jax, jax.numpy as jnp, diffrax, flowjax_measures as fm
x = jax.random.normal(jax.random.key(0), (64, 3)).block_until_ready()
fm.SelfAttention, fm.ConsensusBased, fm.GradientFlow, fm.MMD
begin = time.process_time()
{body}
go().block_until_ready()
first = time.process_time() - begin
laps = []
for _ in range(50):
    begin = time.perf_counter()
    go().block_until_ready()
    laps.append(time.perf_counter() - begin)
print(first, sorted(laps)[25])
"""


def measured(body: str) -> tuple[float, float]:
    """CPU seconds of the first call, seconds of a later one."""
    run = subprocess.run(
        [sys.executable, "-c", FRAME.format(body=body)], capture_output=True, text=True, check=True
    )
    first, later = map(float, run.stdout.split())
    return first, later


def main(repeats: int = 5) -> None:
    """One line a problem."""
    for name, bodies in PROBLEMS.items():
        found = [[measured(body) for body in bodies] for _ in range(repeats)]
        first = [statistics.median(run[i][0] for run in found) for i in (0, 1)]
        later = [statistics.median(run[i][1] for run in found) for i in (0, 1)]
        print(
            f"{name:10s} first call {first[0]:.2f} s, by hand {first[1]:.2f}: "
            f"{first[0] / first[1]:.2f}; later {1e6 * later[0]:.0f} us, by hand "
            f"{1e6 * later[1]:.0f}: {later[0] / later[1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
