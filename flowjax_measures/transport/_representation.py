r"""Maps of measures that transport: F(μ) = f(·, μ)#μ (Lavenant and Savaré).

A map F of measures that is continuous has such an f exactly when tokens do not split: the image of
Σ a_i δ_{x_i} is Σ a_i δ_{y_i} for some y_i. Then f(x_i, μ) is where the mass goes that x_i gains,
F((1 − ε)μ + εδ_{x_i}) − (1 − ε)F(μ) → εδ_{y_i} as ε → 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Point, Scalar
from .._numerics import checked
from ..measures import AbstractMeasure, Particles
from ..measures._base import replace


class TransportMap(eqx.Module):
    """μ ↦ f(·, μ)#μ, the maps of measures that layers of attention are.

    **Arguments:** `f`: a function f(x, mu) of one point and the measure.

    !!! example

        ```python
        layer = fm.TransportMap(lambda x, mu: mu.mean(logits=lambda y: jnp.vdot(x, y)))
        layer(fm.Particles(x))
        ```
    """

    f: Callable[[Point, Any], Point]

    def __call__(self, mu: AbstractMeasure) -> AbstractMeasure:
        return mu.push(lambda x: self.f(x, mu))


class Representation(NamedTuple):
    """What `transport_representation` returns.

    - `points`: f(x_i, μ) for each atom of μ, shape (n, k); NaN for an atom that splits.
    - `split`: the share of the mass of each atom that goes elsewhere, shape (n,); 0 where f exists.

    !!! example

        `fm.transport_representation(lambda m: fm.Particles(m.x + m.mean()), mu)`
    """

    points: np.ndarray
    split: np.ndarray

    @property
    def exists(self) -> bool:
        """Whether no atom splits, so that F(μ) = f(·, μ)#μ at this μ."""
        return bool(np.all(np.isfinite(self.points)))


@checked
def transport_representation(
    F: Callable[[Any], Any], mu: Particles, epsilon: Scalar | None = None
) -> Representation:
    r"""Whether a map of measures transports at `mu`, and by which f(·, μ); F is a black box.

    F is asked at μ and, for each atom, at (1 − ε)μ + εδ_{x_i}, whose atoms are those of F(μ) that
    they are nearest to. Atoms of μ at the same place are one.

    **Arguments:** `F`: a function of `Particles` that returns `Particles` in R^k, their number and
    order as it likes; `mu`: particles with points of shape
    (n, d); `epsilon`: ε, by default 5e-7 in float64 and 2e-3 in
    float32, small beside what F needs to move an atom of F(μ) half of the way to the next.

    **Returns:** `Representation`, in NumPy.

    **Raises:** `ValueError` when F does not return particles of the mass of μ.

    !!! example

        `fm.transport_representation(fm.layers(fm.SelfAttention(), 4), tokens).points`

        is where tokens go.
    """
    if not isinstance(mu, Particles):
        raise ValueError(f"`mu` is a {type(mu).__name__}; f is found at the atoms of `Particles`.")
    if getattr(mu.x, "ndim", 0) != 2:
        raise ValueError("`mu` is to have points of shape (n, d), one array.")
    points, log_w = (np.asarray(a) for a in mu.atoms())
    x, place = np.unique(points, axis=0, return_inverse=True)
    masses = np.bincount(place.ravel(), np.exp(log_w), len(x)).astype(log_w.dtype)
    share = np.finfo(log_w.dtype).eps ** 0.4 if epsilon is None else float(epsilon)
    if not 0 < share < 1:
        raise ValueError(f"`epsilon` is {epsilon}; give a small share of the mass.")
    total = masses.sum()
    targets, held, _ = _image(F, mu, x, masses)
    targets, held = _merged(targets, held)
    goes, split = np.full((len(x), targets.shape[1]), np.nan), np.zeros(len(x))
    for i in range(len(x)):
        more = (1 - share) * masses
        more[i] += share * total
        there, weights, space = _image(F, mu, x, more)
        distance = jax.vmap(jax.vmap(space.distance, (None, 0)), (0, None))
        nearest = np.argmin(distance(jnp.asarray(there), jnp.asarray(targets)), axis=1)
        gained = np.bincount(nearest, weights, len(targets)) - (1 - share) * held
        home = np.argmax(gained)
        # Nor can an atom go where there is less mass than it has.
        kept = min(gained[home] / (share * total), held[home] / max(masses[i], 1e-300), 1)
        split[i] = 1 - kept
        if kept > 1 - 1e-2:
            goes[i] = targets[home]
    return Representation(goes[place.ravel()], split[place.ravel()])


def _image(F, mu, x, masses):
    """The atoms and masses of F at Σ masses_i δ_{x_i}."""
    image = F(replace(Particles(jnp.asarray(x), weights=masses), space=mu.space))
    if not isinstance(image, Particles):
        raise ValueError(
            f"`F` returned a {type(image).__name__}; an atom whose image is no particle splits. "
            "Give a function that returns `Particles`."
        )
    y, weights = np.asarray(image.x, float), np.exp(np.asarray(image.log_weights(), float))
    if y.ndim != 2 or not np.isclose(weights.sum(), masses.sum(), rtol=1e-3):
        raise ValueError(
            f"`F` returned points of shape {y.shape} and mass {weights.sum():.6g} for a measure of "
            f"mass {masses.sum():.6g}; give a function to measures of the same mass on R^k."
        )
    return y, weights, image.space


def _merged(y, weights):
    """Atoms at the same place, to eight digits, as one."""
    scale = max(np.abs(y).max(), 1e-300)
    _, first, place = np.unique(
        np.round(y / scale, 8), axis=0, return_index=True, return_inverse=True
    )
    return y[first], np.bincount(place.ravel(), weights, len(first))
