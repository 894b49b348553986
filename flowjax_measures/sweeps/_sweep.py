"""`sweep`: a function over a product of parameters and seeds, on all devices, in chunks that fit.

Every chunk is one call of one compiled program, the last one filled up; so a sweep that was
stopped goes on from its last chunk and ends with the same bits. A run is known by its parameters
and its seed: a sweep of more values computes the new ones alone.
"""

import contextlib
import inspect
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from .._custom_types import Count
from .._numerics import checked
from .._numerics._memory import free
from .._reduce._ring import check_axis
from ..storage._folder import emptied
from ..storage._progress import counted
from ..storage.checkpoint import environment
from ._chunks import Chunks, named
from ._result import Sweep as Sweep

# A sweep that reports has at least so many chunks, where it has so many runs.
_REPORTS = 16


@checked
def sweep(
    function: Callable[..., PyTree],
    parameters: Any,
    *,
    seeds: int | Sequence[int] | None = None,
    chunk: Count | None = None,
    memory: int | float | None = None,
    sharding: NamedSharding | None = None,
    folder: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Sweep:
    r"""Evaluates a function at every combination of parameters and seeds.

    **Arguments:**

    - `function`: `function(parameters)`, with seeds `function(parameters, key)`; returns a pytree
      of arrays. It is compiled once, batched by `vmap`.
    - `parameters`: a dict from names to values gives their product, one axis each. The values are a
      list, an array, or a pytree of arrays with one leading axis (parameters that go together).
      Anything but a dict is such a pytree and gives one axis, `run`: a system with stacked fields.
    - `seeds`: a number of seeds 0, 1, … or the seeds themselves: the last axis, `seed`. Seed s is
      the key `jax.random.key(s)`, the same for all parameters.
    - `chunk`: how many runs a call of the program takes; by default as many as fit into `memory`.
    - `memory`: bytes that a chunk may take on each device, by compiled memory analysis; default
      0.8 of what is free.
    - `sharding`: `NamedSharding(mesh, PartitionSpec(axis))` spreads the runs of a chunk over that
      axis of a mesh, whose other axes are left to the function; default all devices.
    - `folder`: where each chunk is written when it is done. The same call with the same folder goes
      on from there, also on another number of devices; the result is bit for bit that of a sweep
      without a stop. More values or seeds may be asked for, and another `chunk`: what is there is
      kept. What a function reads from outside of JAX (a callback, a file) is not seen when it
      changes.
    - `overwrite`: whether to begin anew where `folder` holds a sweep, this or another.
    - `progress`: whether to show a bar, one step a chunk.

    **Returns:** a `Sweep`.

    **Raises:** `ValueError` where no chunk fits into `memory`, before anything is allocated; where
    `folder` holds another sweep.

    !!! example

        ```python
        def spread(p, key):
            mu = fm.initial.normal(key, 256, 2)
            law = fm.ConsensusBased(objective, sigma=p["sigma"], alpha=p["alpha"])
            run = fm.simulate(law, mu, [0.0, 5.0], dt=0.01, key=key, throw=False)
            return run.final.covariance()

        fm.sweep(spread, dict(sigma=[0.1, 0.5, 1.0], alpha=[10.0, 100.0]), seeds=8).to_xarray()
        ```
    """
    axes, coords, rebuild = _axes(parameters, seeds)
    sizes = [jax.tree.leaves(axis)[0].shape[0] for axis in axes]
    runs = math.prod(sizes)
    if sharding is None:
        devices = jax.devices()
        sharding = NamedSharding(Mesh(np.array(devices), ("runs",)), PartitionSpec("runs"))
    count = sharding.mesh.shape[check_axis(sharding)]

    def batch(indices: np.ndarray) -> list:
        """The parameters of runs, counted along the last axis first."""
        places = np.unravel_index(indices, sizes)
        return [
            jax.tree.map(lambda a, p=p: a[p], axis) for axis, p in zip(axes, places, strict=True)
        ]

    program = jax.jit(jax.vmap(lambda *a: _called(function, *rebuild(a))), out_shardings=sharding)

    def compiled(size: int):
        spec = lambda a: jax.ShapeDtypeStruct((size, *a.shape[1:]), _dtype(a), sharding=sharding)  # noqa: E731
        return program.lower(*jax.tree.map(spec, axes)).compile()

    store, parts, left = None, [], np.arange(runs)
    if folder is not None:
        single = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], _dtype(a)), axes)
        lowered = jax.jit(lambda *a: _called(function, *rebuild(a))).lower(*single)
        config = {
            "function": lowered.as_text(), "axes": list(coords), "environment": environment(),
        }  # fmt: skip
        folder = emptied(folder, overwrite, "sweep", "chunk-*")
        store = Chunks(folder, config, named(axes, sizes), lowered.out_info)
        parts = store.read()
        left = np.setdiff1d(left, np.concatenate([[], *(rows for rows, _ in parts)])).astype(int)
        if left.size == 0:
            return Sweep(_assembled(parts, sizes), coords)
    lanes = None if store is None else store.lanes()
    size = _planned(chunk, lanes, left.size, count, bool(folder or progress))
    # Processes must agree on the size of a chunk.
    limit = float(np.min(_whole(np.float32(free())))) if memory is None else memory
    call = compiled(size)
    while (need := _bytes(call)) > limit:
        if chunk is not None or size == count:
            raise ValueError(_too_large(size, need, limit, chunk, memory))
        size = max(int(0.9 * size * limit / need) // count, 1) * count
        call = compiled(size)
    with contextlib.nullcontext() if store is None else store.begun(size // count):

        def keep(rows, values):
            part = jax.tree.map(lambda a: a[: rows.size], _whole(values))
            parts.append((rows, part))
            if store is not None:
                store.write(rows, part)

        # The devices have the next chunk to do while one is read and written.
        running = None
        for start in counted(range(0, left.size, size), progress, "sweep"):
            rows = left[start : start + size]
            inputs = batch(np.resize(rows, size))
            values = call(*jax.tree.map(lambda a: _put(a, sharding), inputs))
            if running is not None:
                keep(*running)
            running = rows, values
        if running is not None:
            keep(*running)
    return Sweep(_assembled(parts, sizes), coords)


def _called(function: Callable[..., PyTree], *arguments: Any) -> PyTree:
    """The values of one run, or what to do about a function that cannot be compiled."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = "(parameters, key)" if len(arguments) == 2 else "(parameters)"
        raise ValueError(
            f"`function` is called as function{wanted}: {error}. With `seeds` it gets a key, "
            "without them none."
        ) from error
    except ValueError:  # A function without a signature.
        pass
    try:
        values = function(*arguments)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise _needs_numbers() from error
    except TypeError as error:
        if "concrete values" not in str(error):
            raise
        raise _needs_numbers() from error
    wrong = [a for a in jax.tree.leaves(values) if not eqx.is_array_like(a)]
    if wrong:
        raise ValueError(f"`function` returned {wrong[0]!r}; it returns numbers and arrays.")
    return values


def _needs_numbers() -> ValueError:
    return ValueError(
        "`function` needs the value of a parameter while it is compiled, for a shape, a step or an "
        "`if`. Sweep over numbers that only arithmetic sees (jax.numpy.where for a branch), and "
        "call `sweep` once for each size."
    )


def _assembled(parts: list[tuple[np.ndarray, PyTree]], sizes: list[int]) -> PyTree:
    """All runs' values in the order of the axes."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))

    def leaf(*pieces):
        whole = np.concatenate(pieces)[order]
        return whole.reshape(*sizes, *whole.shape[1:])

    return jax.tree.map(leaf, *(part for _, part in parts))


def _dtype(a: np.ndarray) -> Any:
    return jnp.asarray(a[:0]).dtype


def _axes(parameters, seeds) -> tuple[list, dict[str, np.ndarray], Callable]:
    """The axes, pytrees of arrays; their coordinates; a run's arguments from their entries."""
    product = parameters if isinstance(parameters, dict) else {"run": parameters}
    axes, coords = [], {}
    for name, values in product.items():
        if isinstance(values, list | range):
            if not len(values):
                raise ValueError(f"`parameters`: {name!r} has no values; give at least one.")
            values = jax.tree.map(lambda *a: np.stack(a), *values)
        axis = jax.tree.map(np.asarray, values)
        if any(a.dtype.kind in "OSU" for a in jax.tree.leaves(axis)):
            raise ValueError(
                f"`parameters`: {name!r} holds what is no number; sweep over its position, "
                "list(range(n)), with jax.lax.switch, or call `sweep` for each."
            )
        lengths = {np.shape(a)[:1] for a in jax.tree.leaves(axis)}
        if len(lengths) != 1 or lengths == {()} or lengths == {(0,)}:
            raise ValueError(
                f"`parameters`: {name!r} has leaves of shapes "
                f"{[np.shape(a) for a in jax.tree.leaves(axis)]}; give values along one leading "
                "axis."
            )
        plain = isinstance(axis, np.ndarray) and axis.ndim == 1
        axes.append(axis)
        coords[name] = axis if plain else np.arange(*next(iter(lengths)))
    if seeds is not None:
        if "seed" in coords:
            raise ValueError(
                "`parameters` has an axis `seed`; that is the name of the seeds' axis."
            )
        seeds = np.arange(seeds) if isinstance(seeds, int) else np.asarray(seeds)
        if seeds.ndim != 1 or seeds.size == 0:
            raise ValueError("`seeds` is empty; give a positive number of seeds or their values.")
        axes.append(np.stack([jax.random.key_data(jax.random.key(int(s))) for s in seeds]))
        coords["seed"] = seeds
    names = list(product)

    def rebuild(entries):
        own = dict(zip(names, entries, strict=False))
        point = own if isinstance(parameters, dict) else own["run"]
        return (point,) if seeds is None else (point, jax.random.wrap_key_data(entries[-1]))

    return axes, coords, rebuild


def _planned(chunk, lanes, runs, count, reports) -> int:
    """The number of runs in a chunk: what was asked for, what the folder says, or all."""
    if chunk is not None:
        if chunk < 1 or chunk % count:
            raise ValueError(
                f"`chunk` is {chunk}; give a positive multiple of the {count} devices that "
                "share it."
            )
        return chunk
    if lanes is not None:
        return lanes * count
    return -(-(-(-runs // _REPORTS) if reports else runs) // count) * count


def _bytes(program) -> int:
    """What a compiled program takes on one device."""
    memory = program.memory_analysis()
    # Two chunks are held, of which one runs.
    held = 2 * (memory.argument_size_in_bytes + memory.output_size_in_bytes)
    return held + memory.temp_size_in_bytes - memory.alias_size_in_bytes


def _too_large(size, need, limit, chunk, memory) -> str:
    knob = "a smaller `chunk`" if chunk is not None else "a smaller problem for each run"
    given = "that are free" if memory is None else "of `memory`"
    return (
        f"`sweep`: {size} runs at once need {need:,} bytes on a device, more than the "
        f"{int(limit):,} {given}; nothing was allocated. Take {knob} (fewer particles, values "
        'observed instead of whole paths, `remat="sqrt"`), more devices, or a larger `memory`.'
    )


def _put(a: np.ndarray, sharding: NamedSharding) -> jax.Array:
    a = np.asarray(a, _dtype(a))
    return jax.make_array_from_callback(a.shape, sharding, lambda index: a[index])


def _whole(tree: PyTree) -> PyTree:
    """Values as NumPy arrays, those of all processes on each."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(np.asarray, tree)
