"""What `simulate` says of arguments that cannot be meant."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from .._system import AbstractMeanField, AbstractSystem
from ..measures._base import concrete, is_measure

_REMAT = ("none", "step", "sqrt", "recursive")


def check(system: Any, state: Any, key: Any, observe: Any, remat: Any) -> None:
    """Raises a `ValueError` that names the argument which cannot be meant."""
    if not isinstance(system, AbstractSystem):
        raise ValueError(
            f"`system` is {type(system)}; give a system, for a function of one point "
            "`Custom(lambda t, x, mu: ...)`."
        )
    measures = [m for m in jax.tree.leaves(state, is_leaf=is_measure) if is_measure(m)]
    if isinstance(system, AbstractMeanField) and not measures:
        raise ValueError(
            f"`state` is {type(state)}; {type(system).__name__} moves a measure: give Particles(x) "
            "for points x of shape (n, d), a Gaussian or a GridDensity."
        )
    kinds = (jax.dtypes.prng_key, np.uint32)
    if key is not None and not any(jnp.issubdtype(jnp.asarray(key).dtype, k) for k in kinds):
        raise ValueError(f"`key` is {key!r}; give a JAX key, jax.random.key(0).")
    if not all(map(callable, jax.tree.leaves(observe, is_leaf=callable))):
        raise ValueError(
            f"`observe` is {observe!r}; give functions of the state, for example "
            "dict(mean=lambda mu: mu.mean())."
        )
    if remat is not None and remat not in _REMAT:
        raise ValueError(f"`remat` is {remat!r}; it is one of {_REMAT} or None.")
    for measure in measures:
        measure.check()
    for leaf in jax.tree.leaves(state):
        if eqx.is_inexact_array(leaf) and concrete(leaf) and _holds_nan(leaf):
            raise ValueError(
                "`state` holds NaN or inf (of shape "
                f"{leaf.shape}); give an initial measure of finite values."
            )


def _holds_nan(leaf: Array) -> bool:
    # −inf is the logarithm of a mass of zero.
    values = np.asarray(leaf)
    return bool(np.any(np.isnan(values) | (values == np.inf)))


def check_times(ts: Any, dt: Any) -> Any:
    """The times as a NumPy array, or traced; checks them and the step."""
    if isinstance(ts, Tracer):
        if dt is not None:
            raise ValueError(
                "`ts` is traced, but constant steps must know their number before compiling. "
                "Make `ts` a NumPy array outside of jit, or leave out `dt` for adaptive steps."
            )
    else:
        ts = np.asarray(ts, np.float64)
        if ts.ndim == 1 and (not np.all(np.isfinite(ts)) or np.any(np.diff(ts) <= 0)):
            raise ValueError("`ts` must be finite and strictly increasing.")
    if ts.ndim != 1 or ts.shape[0] < 2:
        raise ValueError(
            f"`ts` has shape {ts.shape}; give at least two times, the first where the state is."
        )
    if dt is not None:
        if isinstance(dt, Tracer):
            raise ValueError(
                "`dt` is traced, but the number of steps must be known before compiling; give a "
                "Python float, or leave it out for adaptive steps."
            )
        if not (np.ndim(dt) == 0 and np.isfinite(dt) and dt > 0):
            raise ValueError(f"`dt` is {dt}; give one positive step.")
    return ts


def check_noise(dt: Any, key: Any, controller: Any) -> None:
    """What a system with noise needs."""
    if key is None:
        raise ValueError("`key` is missing: this system has noise. Give key=jax.random.key(0).")
    if dt is None and controller is None:
        raise ValueError(
            "`dt` is missing: this system has noise. Give a constant step, or a "
            "`stepsize_controller` together with a solver that estimates its error."
        )
