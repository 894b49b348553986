r"""Points against a critic that learns to tell them from samples, as in Wasserstein GANs.

    C(μ, θ) = ∫ c_θ dμ − ∫ c_θ dν − ½γ ∫ (|∇c_θ| − 1)₊² d(μ + ν)

The points go down C and the critic's parameters go up it. Against the best of all critics of slope
1 they go down W₁(μ, ν); the penalty keeps slopes near 1 ([gulrajani2017]).
"""

from collections.abc import Callable

from jaxtyping import PyTree

from ..._custom_types import FloatScalar, NonNegative, Point, Positive
from ..._numerics import checked
from ...energies import PotentialEnergy
from ...energies._adversarial import steepness
from ...measures import AbstractMeasure
from ._game import Game

Critic = Callable[[PyTree, Point], FloatScalar]


@checked
def critic_game(
    target: AbstractMeasure, critic: Critic, *, penalty: NonNegative = 10.0, speed: Positive = 1.0
) -> Game:
    """The game of `points` and a `critic`, whose states are `Particles` by these names.

    The critic's particles are parameters, a single one or several, whose mean is then the critic.

    **Arguments:** `target`: ν. `critic`: c, a function of parameters and a point with a number as
    its value. `penalty`: γ. `speed`: how many times faster the critic moves than the points.

    **Raises:** `ValueError` for a `speed` that is not positive, or a negative `penalty`.

    !!! example

        ```python
        network = fm.MLP(2, out="scalar", time=0, key=key)
        weights, rest = eqx.partition(network, eqx.is_inexact_array)
        game = fm.critic_game(nu, lambda w, x: eqx.combine(w, rest)(0.0, x), speed=10.0)
        state = dict(points=mu, critic=fm.Particles(jax.tree.map(lambda a: a[None], weights)))
        fm.simulate(game, state, [0.0, 1.0], dt=0.001)
        ```
    """

    def steep(theta, x) -> FloatScalar:
        return penalty * steepness(lambda x: critic(theta, x), x)

    def of_points(mu):
        def seen(x):
            return mu["critic"].mean(lambda theta: critic(theta, x) - steep(theta, x))

        return PotentialEnergy(seen)

    def of_critic(mu):
        def told(theta):
            there = mu["points"].mean(lambda x: critic(theta, x) - steep(theta, x))
            return target.mean(lambda y: critic(theta, y) + steep(theta, y)) - there

        return speed * PotentialEnergy(told)

    return Game({"points": of_points, "critic": of_critic})
