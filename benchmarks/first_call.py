r"""The first result and the second call: processes that each make one call, import left out.

    python benchmarks/first_call.py [problem ...]

CPU seconds of the first call, ours and a program by hand of the same steps, interleaved, medians
of fresh processes; then microseconds of a later call. Both have their arrays before the clock
starts.
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
flow = fm.GradientFlow(fm.MMD(fm.Particles(y), fm.GaussianKernel(1.0)))
go = lambda: fm.simulate(flow, fm.Particles(x), [0.0, 1.0], dt=0.05, solver=diffrax.Euler()).final.x
""",
        """
def potential(p, cloud):
    return jnp.mean(jnp.exp(-jnp.sum((p - cloud) ** 2, axis=1) / 2))
def step(z, _):
    v = jax.vmap(lambda p: jax.grad(potential)(p, y) - jax.grad(potential)(p, z))(z)
    return z + 0.05 * v, None
go = jax.jit(lambda: jax.lax.scan(step, x, length=20)[0])
""",
    ),
    "KL flow": (
        """
flow = fm.GradientFlow(fm.KL(lambda p: 0.25 * jnp.sum(p**4)))
mu, key = fm.Particles(x), jax.random.key(1)
go = lambda: fm.simulate(flow, mu, [0.0, 1.0], dt=0.05, key=key).final.x
""",
        """
force = jax.vmap(jax.grad(lambda p: -0.25 * jnp.sum(p**4)))
def step(z, k):
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(1), k), z.shape)
    return z + 0.05 * force(z) + 0.1**0.5 * noise, None
go = jax.jit(lambda: jax.lax.scan(step, x, jnp.arange(20))[0])
""",
    ),
    "Sinkhorn": (
        """
mu, nu = fm.Particles(x), fm.Particles(y)
go = lambda: fm.sinkhorn_divergence(mu, nu, 0.5)
""",
        """
def cost(x, y):
    c = jnp.sum((x[:, None] - y) ** 2, axis=2)
    soft = lambda c, g: -0.5 * (jax.nn.logsumexp((g - c) / 0.5, axis=1) - jnp.log(len(x)))
    def once(s):
        f, g, _, k = s
        f = soft(c, g)
        new = soft(c.T, f)
        return f, new, jnp.max(jnp.abs(new - g)), k + 1
    going = lambda s: (s[2] > 1e-5) & (s[3] < 2000)
    zero = jnp.zeros(len(x))
    f, g, _, _ = jax.lax.while_loop(going, once, (zero, zero, jnp.inf, 0))
    return jnp.mean(f) + jnp.mean(g)
go = jax.jit(lambda: cost(x, y) - (cost(x, x) + cost(y, y)) / 2)
""",
    ),
    "JKO": (
        """
energy = fm.PotentialEnergy(lambda p: 0.25 * jnp.sum(p**4)) + fm.InteractionEnergy(
    lambda p, q: 0.5 * jnp.sum((p - q) ** 2)
)
mu, flow = fm.Particles(x), fm.GradientFlow(energy)
go = lambda: fm.simulate(flow, mu, [0.0, 1.0], dt=0.1, solver=fm.JKO(0.1)).final.x
""",
        """
def energy(z):
    pairs = 0.5 * jnp.sum((z[:, None] - z) ** 2, axis=2)
    return jnp.sum(0.25 * z**4) + jnp.sum(pairs) / (2 * len(z))
def step(old, _):
    slope = lambda z: (z - old.ravel()) / 0.1 + jax.grad(energy)(z.reshape(old.shape)).ravel()
    newton = lambda s: (s[0] - jnp.linalg.solve(jax.jacfwd(slope)(s[0]), slope(s[0])), s[1] + 1)
    going = lambda s: (jnp.max(jnp.abs(slope(s[0]))) > 1e-4) & (s[1] < 20)
    return jax.lax.while_loop(going, newton, (old.ravel(), 0))[0].reshape(old.shape), None
go = jax.jit(lambda: jax.lax.scan(step, x, length=10)[0])
""",
    ),
    "fit": (
        """
system = fm.SelfAttention(beta=1.0)
data = ([0.0, 1.0], [fm.Particles(x), fm.Particles(y)])
go = lambda: fm.fit(
    system, data, steps=50, dt=0.05, solver=diffrax.Euler(), identifiability=False
).system.beta
""",
        """
import optax
def field(beta, z):
    return jax.nn.softmax(beta * z @ z.T, axis=1) @ z
def distance(a, b):
    gap = lambda a, b: jnp.mean(jnp.sqrt(jnp.sum((a[:, None] - b) ** 2, axis=2) + 1e-12))
    return 2 * gap(a, b) - gap(a, a) - gap(b, b)
def loss(beta):
    end, _ = jax.lax.scan(lambda z, _: (z + 0.05 * field(beta, z), None), x, length=20)
    return distance(end, y)
opt = optax.adam(optax.cosine_decay_schedule(0.1, 50), b2=0.9)
def step(s, _):
    beta, memory = s
    change, memory = opt.update(jax.grad(loss)(beta), memory)
    return (beta + change, memory), None
one = jnp.float32(1.0)
go = jax.jit(lambda: jax.lax.scan(step, (one, opt.init(one)), length=50)[0][0])
""",
    ),
    "minimize": (
        """
f = lambda p: jnp.sum(p**2 - 10 * jnp.cos(2 * jnp.pi * p))
key, start = jax.random.key(1), fm.Particles(x)
go = lambda: fm.minimize(f, start, key=key, method="consensus", budget=6400).x
""",
        """
f = jax.vmap(lambda p: jnp.sum(p**2 - 10 * jnp.cos(2 * jnp.pi * p)))
def step(s):
    z, best, at, k = s
    values = f(z)
    low = jnp.argmin(values)
    at = jnp.where(values[low] < best, z[low], at)
    w = jax.nn.softmax(-30.0 * values)
    away = z - w @ z
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(1), k), z.shape)
    z = z - 0.1 * away + 2.7 * 0.1**0.5 * away * noise
    return z, jnp.minimum(best, values[low]), at, k + 1
going = lambda s: (s[3] < 100) & (jnp.max(jnp.abs(s[0] - s[0][0])) > 1e-6)
go = jax.jit(lambda: jax.lax.while_loop(going, step, (x, jnp.inf, x[0], 0))[2])
""",
    ),
    "sample": (
        """
f = lambda p: 0.25 * jnp.sum(p**4)
key, start = jax.random.key(1), fm.Particles(x)
go = lambda: fm.sample(f, start, key=key, steps=100).x
""",
        """
f = jax.vmap(lambda p: 0.25 * jnp.sum(p**4))
def step(z, k):
    w = jax.nn.softmax(-f(z))
    c = w @ z
    root = jnp.linalg.cholesky(2.0 * (z - c).T @ (w[:, None] * (z - c)))
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(1), k), z.shape)
    a = jnp.exp(-0.1)
    return c + a * (z - c) + jnp.sqrt(1 - a**2) * noise @ root.T, None
go = jax.jit(lambda: jax.lax.scan(step, x, jnp.arange(100))[0])
""",
    ),
    "SGD": (
        """
loss = lambda p, example: 0.5 * (example @ p) ** 2
law = fm.StochasticModifiedEquation(loss, y, 0.05)
mu, key = fm.Particles(x), jax.random.key(1)
go = lambda: fm.simulate(law, mu, [0.0, 1.0], dt=0.05, key=key).final.x
""",
        """
slopes = lambda p: jax.vmap(jax.grad(lambda p, e: 0.5 * (e @ p) ** 2), (None, 0))(p, y)
def step(z, k):
    all_of = jax.vmap(slopes)(z)
    mean = jnp.mean(all_of, axis=1)
    xi = jax.random.normal(jax.random.fold_in(jax.random.key(1), k), (len(z), len(y)))
    noise = jnp.einsum("ne,ned->nd", xi, all_of - mean[:, None]) / len(y) ** 0.5
    return z - 0.05 * mean + 0.05 * noise, None
go = jax.jit(lambda: jax.lax.scan(step, x, jnp.arange(20))[0])
""",
    ),
    "gradient of an adaptive run": (
        """
mu, law = fm.Particles(x), lambda beta: fm.SelfAttention(beta=beta)
controller = diffrax.PIDController(rtol=1e-5, atol=1e-5)
end = lambda beta: jnp.sum(
    fm.simulate(law(beta), mu, [0.0, 1.0], stepsize_controller=controller).final.x ** 2
)
go = jax.jit(lambda: jax.grad(end)(1.0))
""",
        """
def end(beta):
    term = diffrax.ODETerm(lambda t, z, a: jax.nn.softmax(beta * z @ z.T, axis=1) @ z)
    controller = diffrax.PIDController(rtol=1e-5, atol=1e-5)
    run = diffrax.diffeqsolve(
        term, diffrax.Tsit5(), 0.0, 1.0, None, x, stepsize_controller=controller
    )
    return jnp.sum(run.ys**2)
go = jax.jit(lambda: jax.grad(end)(1.0))
""",
    ),
}

FRAME = """
import time, jax, jax.numpy as jnp, diffrax, flowjax_measures as fm
x = jax.random.normal(jax.random.key(0), (64, 3))
y = (1.0 + x[::-1]).block_until_ready()
fm.SelfAttention, fm.ConsensusBased, fm.GradientFlow, fm.MMD, fm.fit, fm.minimize, fm.sgd, fm.JKO
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


def main(*names: str, repeats: int = 5) -> None:
    """One line a problem."""
    for name in names or PROBLEMS:
        bodies = PROBLEMS[name]
        found = [[measured(body) for body in bodies] for _ in range(repeats)]
        first = [statistics.median(run[i][0] for run in found) for i in (0, 1)]
        later = [statistics.median(run[i][1] for run in found) for i in (0, 1)]
        print(
            f"{name:11s} first call {first[0]:.2f} s, by hand {first[1]:.2f}: "
            f"{first[0] / first[1]:.2f}; later {1e6 * later[0]:.0f} us, by hand "
            f"{1e6 * later[1]:.0f}: {later[0] / later[1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
