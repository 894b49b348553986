"""Is this machine fit to compute here? Versions, devices, and formulas computed in three ways.

A compiler that is wrong is silent: jax 0.10.2 returned wrong rows of x_i ↦ ‖A x_i‖² on ordinary
processors, for some odd numbers of points only. So `examine` evaluates such formulas under `jit`,
operation by operation, and by NumPy in float64, at odd sizes, and counts the rows that differ.
`python -m flowjax_measures doctor` prints the findings.

Of the rest of the package nothing is imported here: what is broken elsewhere doesn't matter.
"""

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DEPENDENCIES = (
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optax",
    "ott-jax",
    "POT",
    "lineax",
    "optimistix",
    "jaxtyping",
    "tqdm",
    "numpy",
    "scipy",
)

EXCLUDED_JAX = {
    "0.10.1": "implicit gradients of ott fail with a ValueError",
    "0.10.2": "compiled code returns wrong values on CPU",
    "0.11.0": "the compiler crashes on arrays of rank 7, and is wrong on some GPUs",
    "0.11.1": "the compiler is wrong on some GPUs",
}
"""Releases that must not be used, and why; the bounds in `pyproject.toml` say the same."""


class Finding(NamedTuple):
    """One line of the report: whether all is well, and what was looked at."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'WRONG':<6}{self.text}"


class Sentinel(NamedTuple):
    """A formula that a compiler once got wrong, for one point in jax and for all of them in NumPy.

    **Arguments:**

    - `name`: the formula, as it is printed.
    - `one`: `(A, x) -> value`, with `A` of shape `(d, d)` and one point `x` of shape `(d,)`.
    - `reference`: `Y -> values`, with the rows `y = A x` of `Y`, of shape `(n, d)`, in NumPy.
    """

    name: str
    one: Callable[[Float[Array, "d d"], Float[Array, " d"]], Float[Array, "..."]]
    reference: Callable[[np.ndarray], np.ndarray]


class Case(NamedTuple):
    """The size and the type at which a sentinel is evaluated: `n` points of dimension `d`."""

    n: int
    d: int
    dtype: str


# `A @ x` is written twice in `A x / |A x|` on purpose: with the product named and reused, the
# defect of jax 0.10.2 doesn't show.
SENTINELS = (
    Sentinel("|A x|^2", lambda A, x: jnp.sum((A @ x) ** 2), lambda Y: np.sum(Y**2, 1)),
    Sentinel("|A x|", lambda A, x: jnp.linalg.norm(A @ x), lambda Y: np.linalg.norm(Y, axis=1)),
    Sentinel(
        "A x / |A x|",
        lambda A, x: (A @ x) / jnp.linalg.norm(A @ x),
        lambda Y: Y / np.linalg.norm(Y, axis=1, keepdims=True),
    ),
    Sentinel(
        "sum relu(A x)",
        lambda A, x: jnp.sum(jax.nn.relu(A @ x)),
        lambda Y: np.sum(np.maximum(Y, 0), 1),
    ),
)

# Round numbers of points hide the defect. Of these, (33333, 3) in float32 and all in float64
# show it on jax 0.10.2.
CASES = (
    Case(16385, 1, "float32"),
    Case(16385, 16, "float32"),
    Case(33333, 3, "float32"),
    Case(20001, 3, "float64"),
    Case(16385, 5, "float64"),
)

TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
"""Largest error, relative to one plus the size of the value; a miscompiled row is wrong by O(1)."""


def wrong_rows(sentinel: Sentinel, case: Case) -> dict[str, int]:
    """How many of the n rows differ from NumPy's, under `jit` and operation by operation.

    Matrix and points are standard normal numbers of a fixed seed. A row that isn't finite is
    wrong.

    **Returns:** the two counts, under the keys `"jit"` and `"eager"`.
    """
    n, d, dtype = case
    random = np.random.default_rng(0)
    A = random.standard_normal((d, d)).astype(dtype)
    X = random.standard_normal((n, d)).astype(dtype)
    right = sentinel.reference(X.astype(np.float64) @ A.T.astype(np.float64)).reshape(n, -1)
    counts = {}
    # Full precision in products: accelerators round them to about three digits by default.
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        batched = jax.vmap(sentinel.one, in_axes=(None, 0))
        for name, function in (("jit", jax.jit(batched)), ("eager", batched)):
            values = np.asarray(function(jnp.asarray(A), jnp.asarray(X))).reshape(n, -1)
            close = np.abs(values - right) <= TOLERANCE[dtype] * (1 + np.abs(right))
            counts[name] = int(np.sum(~np.all(close, axis=1)))
    return counts


def examine_sentinel(sentinel: Sentinel, cases: Iterable[Case] = CASES) -> Finding:
    """Evaluates one formula in every case; the finding names each case that is wrong."""
    cases = tuple(cases)
    wrong = [
        f"{how}, {case.dtype}, d = {case.d}: {count} of {case.n} rows"
        for case in cases
        for how, count in wrong_rows(sentinel, case).items()
        if count
    ]
    if wrong:
        return Finding(False, f"{sentinel.name} differs from NumPy ({'; '.join(wrong)})")
    return Finding(True, f"{sentinel.name}: jit = eager = NumPy in {len(cases)} cases")


def examine_jax(version: str) -> Finding:
    """Is this release of jax one of `EXCLUDED_JAX`?"""
    if version in EXCLUDED_JAX:
        return Finding(False, f"jax {version} is excluded: {EXCLUDED_JAX[version]}")
    return Finding(True, f"jax {version} is not an excluded release")


def examine_dependency(name: str) -> Finding:
    """Is the distribution `name` installed, and in which version?"""
    try:
        return Finding(True, f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(False, f"{name} is not installed")


def examine_devices() -> Finding:
    """What jax computes on, and in which precision."""
    devices = jax.devices()
    kinds = sorted({f"{device.platform} ({device.device_kind})" for device in devices})
    precision = "float64" if jnp.zeros(()).dtype == np.float64 else "float32"
    return Finding(
        True,
        f"{len(devices)} device(s): {', '.join(kinds)}; jax_enable_x64 is "
        f"{jax.config.read('jax_enable_x64')}: numbers are {precision}",
    )


def examine(
    sentinels: Iterable[Sentinel] = SENTINELS, cases: Iterable[Case] = CASES
) -> Iterator[Finding]:
    """All findings, in the order in which they are printed; each is made when it is asked for."""
    yield Finding(
        sys.version_info >= (3, 11), f"python {platform.python_version()}, {platform.platform()}"
    )
    cases = tuple(cases)
    yield from map(examine_dependency, DEPENDENCIES)
    yield examine_jax(jax.__version__)
    yield examine_devices()
    for sentinel in sentinels:
        yield examine_sentinel(sentinel, cases)


def doctor(write: Callable[[str], Any] = print, **examination: Any) -> int:
    """Prints every finding and a verdict.

    **Arguments:**

    - `write`: takes one line.
    - `examination`: the arguments of `examine`.

    **Returns:** 0 if all is well, 1 otherwise: the exit status of the command.
    """
    wrong = 0
    for finding in examine(**examination):
        write(str(finding))
        wrong += not finding.ok
    if wrong:
        write(
            f"\n{wrong} finding(s) are WRONG: results computed here cannot be trusted until they "
            "are mended; reinstalling with pip chooses releases that are known to work."
        )
        return 1
    write("\nAll is well.")
    return 0
