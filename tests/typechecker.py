"""beartype for the import hook of jaxtyping, which decorates methods one by one.

beartype knows `Self` only where it decorates the class: here a result of that type isn't checked.
"""

from collections.abc import Callable
from typing import Any, Self

from beartype import beartype


def check(function: Callable) -> Callable:
    """Checks the annotated arguments and the result of a function at every call."""
    annotations = getattr(function, "__annotations__", {})
    if Self in annotations.values():
        function.__annotations__ = {
            name: Any if hint is Self else hint for name, hint in annotations.items()
        }
    return beartype(function)
