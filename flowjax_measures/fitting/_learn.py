r"""`learn`: a network from a loss that draws its own minibatches.

    min_θ E ℓ(f_θ, κ),   κ a fresh key at each step

The losses of generative flows are such: `flow_matching_loss`, `score_matching_loss` and others
draw their batch, its couplings and times from the key that they are given.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, PRNGKey
from .._numerics import checked
from ..storage._folder import claimed
from ._store import Store
from ._training import Trainer, train


class LearnResult(eqx.Module):
    """What `learn` returns.

    - `network`: the trained network: the moving average of its arrays; with `validation` the best
      of those that were looked at.
    - `last`: the network as the last step left it.
    - `losses`: the loss of each step that was taken.
    - `validation`: the values of `validation`, one every `every` steps.
    - `steps`: the number of steps taken.
    - `finite`: whether all losses were; if not, the networks are those before the first that isn't.
    - `message`: how training ended.

    !!! example

        ```python
        fm.learn(
            lambda w, key: jnp.sum((w - jr.normal(key, (2,))) ** 2),
            jnp.zeros(2),
            key=key,
            steps=100,
        ).losses
        ```
    """

    network: Any
    last: Any
    losses: Float[Array, " steps"]
    validation: Float[Array, " looks"]
    steps: int
    finite: bool
    message: str


@checked
def learn(
    loss: Callable[[Any, PRNGKey], FloatScalar],
    network: Any,
    *,
    key: PRNGKey,
    steps: Count = 10_000,
    optimizer: optax.GradientTransformation | None = None,
    learning_rate: float | optax.Schedule = 1e-3,
    clip: float | None = None,
    average: float = 0.999,
    validation: Callable[[Any], FloatScalar] | None = None,
    every: Count = 500,
    patience: Count | None = None,
    folder: str | os.PathLike | None = None,
    overwrite: bool = False,
    throw: bool = True,
    progress: bool = False,
) -> LearnResult:
    r"""Trains a network by steps on a loss, in one compiled loop.

    Step k calls `loss(network, fold_in(key, k))`: all that is random in it, the minibatch, its
    coupling, times and noise, is drawn from that key. What is learned is a field or a system like
    any other: `ProbabilityFlow(result.network)` is simulated, has a likelihood, and may be a
    source of pairs for `StochasticInterpolant`.

    **Arguments:**

    - `loss`: function `(network, key) -> scalar`.
    - `network`: any equinox module or pytree; all its floating-point arrays are trained, other
      leaves stay.
    - `steps`: steps of the optimiser.
    - `optimizer`: an optax transformation. Default: Adam at `learning_rate`.
    - `learning_rate`: a number, which is reached by a linear warm-up over a twentieth of the steps
      (500 at most) and falls to 0 by a cosine; or an optax schedule.
    - `clip`: the largest norm of a gradient, before the optimiser.
    - `average`: the weight of the past in the moving average of the network; 0 is none. It grows
      to this value as (1 + k)/(10 + k).
    - `validation`: function of the network to a number, less is better, such as a loss on held-out
      data with a fixed key. It is looked at every `every` steps, and chooses the result.
    - `patience`: ends training after so many looks without a better value.
    - `folder`: where training is written every `every` steps. The same call goes on from there,
      bit for bit, also with more `steps` where the rate does not follow from their number; any
      other is refused.
    - `overwrite`: whether to begin anew where `folder` holds a training, this or another.
    - `throw`: whether a loss that is not finite raises; else look at `finite`.
    - `progress`: whether to show a bar with the loss.

    **Raises:** `ValueError` that names the argument; `RuntimeError` for a loss or a gradient that
    is not finite.

    !!! example

        ```python
        flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), nu)
        loss = lambda velocity, key: fm.flow_matching_loss(velocity, flow, key, 256)
        result = fm.learn(loss, fm.MLP(2, key=jr.key(0)), key=jr.key(1), steps=2000)
        learned = fm.ProbabilityFlow(result.network)
        ```
    """
    _check(loss, network, key, steps, average, every, patience, validation)
    rate = None
    if optimizer is None:
        optimizer = optax.adam(_rate(learning_rate, steps))
        # In words, for a folder of another rate; a schedule is told by the program of an update.
        rate = None if callable(learning_rate) else {"learning": learning_rate, "steps": steps}
    if clip is not None:
        if not clip > 0:
            raise ValueError(
                f"`clip` is {clip}; give the largest norm of a gradient, > 0, or None."
            )
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    trainer = Trainer(loss, network, optimizer, average, key)
    store = None
    if folder is not None:
        config = trainer.identity() | {"rate": rate, "every": every}
        store = Store(Path(folder), "learn", config).emptied(overwrite)
    with contextlib.nullcontext() if store is None else claimed(store.folder):
        course, ended, fine = train(trainer, steps, every, validation, patience, store, progress)
    if not fine:
        ended += (
            " Take a smaller `learning_rate`, or `clip`; if it is the first step look for NaN in "
            "the data."
        )
        if throw:
            raise RuntimeError(f"{ended} `throw=False` returns the network before it.")
    looked = validation is not None and fine
    taken = course.step if fine else course.step + 1
    seen = -(-course.step // every) if validation is not None else 0
    return LearnResult(
        trainer.network(course.best if looked else course.weights.average),
        trainer.network(course.weights.network),
        jnp.asarray(course.losses[:taken]), jnp.asarray(course.validation[:seen]),
        course.step, fine, ended,
    )  # fmt: skip


def _rate(rate: float | optax.Schedule, steps: int) -> optax.Schedule:
    if callable(rate):
        return rate
    warm = min(steps // 20, 500)
    return optax.warmup_cosine_decay_schedule(0.0 if warm else rate, rate, warm, max(steps, 1))


def _check(loss, network, key, steps, average, every, patience, validation):
    if not callable(loss):
        raise ValueError(f"`loss` is {loss!r}; give a function of (network, key) to a number.")
    if not jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)):
        raise ValueError("`network` holds no floating-point arrays, so nothing can be trained.")
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"`key` is {key!r}; give a JAX key, for example jax.random.key(0).")
    for name, value in (("steps", steps), ("every", every), ("patience", patience)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` is {value!r}; give a whole number of at least one.")
    if not 0 <= average < 1:
        raise ValueError(f"`average` is {average}; give the weight of the past, in [0, 1).")
    if patience is not None and validation is None:
        raise ValueError("`patience` counts looks at `validation`, which is missing.")
