"""Consensus as a method of `scipy.optimize.minimize`."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._numerics import checked, given
from ._minimize import minimize


@checked
def scipy_method(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple = (),
    *,
    bounds: Any = None,
    constraints: Any = (),
    callback: Callable[[Any], Any] | None = None,
    key: Any = None,
    seed: int = 0,
    **options: Any,
):
    """`minimize` with the signature that scipy calls a method by; derivatives are not asked for.

    **Arguments:** `fun`, `x0`, `args`, `bounds`, `constraints`: scipy's. `callback`: is called at
    the end, with the best point. `key`, or `seed` for one. `options`: those of `minimize`, such as
    `budget`, `particles`, `method`; `maxfev` is scipy's name of `budget`.

    **Returns:** scipy's `OptimizeResult`.

    !!! example

        `scipy.optimize.minimize(f, x0, method=fm.scipy_method, bounds=b, options={"maxfev": 5000})`
    """
    from scipy.optimize import OptimizeResult as ScipyResult

    ignored = ("jac", "hess", "hessp", "disp", "tol")
    options = {name: value for name, value in options.items() if name not in ignored}
    if "maxfev" in options:
        options["budget"] = options.pop("maxfev")
    objective = (lambda x: fun(x, *args)) if args else fun
    result = minimize(
        objective,
        np.atleast_1d(np.asarray(given("x0", x0), float)),
        bounds=bounds,
        constraints=None if isinstance(constraints, tuple) and not constraints else constraints,
        key=jax.random.key(seed) if key is None else key,
        **options,
    )
    x = np.asarray(result.x)
    if callback is not None:
        callback(x)
    return ScipyResult(
        x=x, fun=float(result.fun), nfev=int(result.nfev), nit=int(result.nit),
        success=bool(result.success), status=int(result.status), message=result.message,
        maxcv=float(result.constr_violation), population=np.asarray(result.population),
        population_energies=np.asarray(result.population_energies),
    )  # fmt: skip
