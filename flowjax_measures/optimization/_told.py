"""A consensus system that is told the values of its objective.

Every place is paired with its number among those evaluated, `(x, i)`: the number is a label, which
stays, and an objective that is given such a pair looks its value up.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .._custom_types import Point
from .._system import Sum


class Known(eqx.Module):
    """An objective whose values at numbered places are known.

    The compiler doesn't see that two linear solves or two integrations are the same one.
    """

    objective: Callable[..., Any]
    values: Float[Array, "k ..."]

    def __call__(self, *places):
        numbers = [number for _, number in places if number is not None]
        return self.values[numbers[0]] if numbers else self.objective(*(x for x, _ in places))


class Asked(eqx.Module):
    """Stands in a system for the objective whose values it will be told."""

    def __call__(self, *places):
        raise ValueError(
            "`method` evaluates its objective at places that were not asked for. Take the values "
            "from `objective` at the points themselves, as the consensus systems do."
        )


class _Plain(eqx.Module):
    """A function of a place, given numbered ones."""

    function: Callable[[Point], Any]

    def __call__(self, place):
        return self.function(place[0])


class _Shown(eqx.Module):
    """A mirror map of numbered points, which keep their numbers."""

    mirror: Callable[[Point], Point]

    def __call__(self, place):
        return self.mirror(place[0]), place[1]


def informed(system: Any, objective: Any, values: Array, elsewhere: Callable[[Any], Array]) -> Any:
    """The system, told the values of `objective` at the numbered places, where it stands `Asked`.

    Where it weighs by another function, `elsewhere` evaluates that one.
    """
    if isinstance(system, Sum):
        first, second = (
            informed(part, objective, values, elsewhere) for part in (system.first, system.second)
        )
        return Sum(first, second)
    for name in ("objective", "objectives"):
        function = getattr(system, name, None)
        if isinstance(function, Asked):
            system = _with(system, name, Known(objective, values))
        elif function is not None:
            system = _with(system, name, Known(function, elsewhere(function)))
    if hasattr(system, "constraint"):
        system = _with(system, "constraint", _Plain(system.constraint))
    if hasattr(system, "mirror"):
        system = _with(system, "mirror", _Shown(system.mirror))
    return system


def _with(system: Any, name: str, value: Any) -> Any:
    return eqx.tree_at(lambda s: getattr(s, name), system, value)
