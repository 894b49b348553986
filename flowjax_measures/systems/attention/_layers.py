r"""The discrete transformer whose limit a flow is: T layers with residual 1/T.

    x ← N(x + h Γ_{kh}[μ](x)),   k = 0, …, T − 1,   h = 1/T,

with N the nearest point of the space: normalisation after the residual on `Sphere()`, none in flat
space. Its distance to the flow at time 1 falls as 1/T.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..._custom_types import Count, Positive, PRNGKey
from ..._numerics import checked
from ..._numerics._checks import check_positive
from ..._system import AbstractSystem, displaced
from ...measures import AbstractMeasure, Gaussian, Particles
from ...measures._base import flowing
from ...spaces import Sphere
from ._activation_kernels import activation_function


@checked
def layers(
    system: AbstractSystem, T: Count, *, time: Positive = 1.0
) -> Callable[[AbstractMeasure], AbstractMeasure]:
    """The map from the initial measure to the one after T layers of `system`, at time 1.

    **Arguments:** `system`: a system without noise, whose drift is the layer; parameters that are
    functions of time take the depth kh; `T`: the number of layers; `time`: where they end, with
    h = time/T.

    A Gaussian is pushed by each layer, exactly where the layer is affine; a system with noise or
    growth is refused there.

    !!! example

        `layers(SelfAttention(beta=4.0), 48)(tokens)`; layers with normalisation before the
        residual are `layers(Normalized(SelfAttention(beta=4.0)), 48)`.
    """
    if T < 1:
        raise ValueError(f"`T` is {T}; give a positive number of layers.")
    check_positive("time", time)

    def network(mu: AbstractMeasure) -> AbstractMeasure:
        h = lambda a: jnp.asarray(time, a.dtype) / T  # noqa: E731
        depths = jnp.arange(T).astype(jnp.result_type(float)) * (time / T)

        def layer(state, depth):
            if isinstance(state, Gaussian):
                return displaced(system, depth, state, h(state.m)), None
            drift = system(depth, state).drift
            move = lambda a, v, moves: a + h(a) * v if moves and v is not None else a  # noqa: E731
            moved = jax.tree.map(move, state, drift, flowing(state))
            return moved.retract(), None

        return jax.lax.scan(layer, mu, depths)[0]

    return network


@checked
def random_layers(
    system: AbstractSystem | None,
    activation: str | Callable,
    x: jax.Array,
    key: PRNGKey,
    *,
    width: Count,
    depth: Count,
    time: float = 1.0,
    sigma: float = 1.0,
) -> jax.Array:
    r"""A transformer at initialisation: layers of attention and of random perceptrons.

        x ← N(x + h Γ(x) + σ√h A φ(Wx)/√m),   h = time/depth,

    with new standard normal A (d, m) and W (m, d) in every layer, the same for all tokens. As the
    width m and the depth grow its law tends to that of `system + RandomMLPNoise(activation,
    sigma)` on the sphere.

    **Arguments:** `system`: the layer Γ, or `None`; `x`: tokens (n, d) on the sphere; `width`: m.

    !!! example

        `fm.random_layers(None, jnp.tanh, tokens.x, key, width=16, depth=4)`
    """
    phi, h, d = activation_function(activation), time / depth, x.shape[1]

    def layer(x, index):
        first, second = jax.random.split(jax.random.fold_in(key, index))
        inner = jax.random.normal(first, (width, d), x.dtype)
        outer = jax.random.normal(second, (d, width), x.dtype)
        move = sigma * jnp.sqrt(jnp.asarray(h / width, x.dtype)) * phi(x @ inner.T) @ outer.T
        if system is not None:
            move = (
                move + h * system(index.astype(x.dtype) * h, Particles(x, space=Sphere())).drift.x
            )
        moved = x + move
        return moved / jnp.linalg.norm(moved, axis=1, keepdims=True), None

    return jax.lax.scan(layer, x, jnp.arange(depth))[0]
