r"""Mean-field Langevin dynamics: noisy training of infinitely many neurons ([hu2021]).

    dX = −∇ δF/δμ(X) dt + √(2τ) dW,

the Wasserstein gradient flow of F(μ) + τ ∫ ρ log ρ; its fixed point is the Gibbs law
ρ ∝ exp(−δF/δμ(x) / τ) in its own field. Additive noise.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._noise import Isotropic
from ..._system import AbstractMeanField
from ...energies import AbstractEnergy
from ...measures import Rates


class MeanFieldLangevin(AbstractMeanField):
    r"""Langevin dynamics in the field of an energy.

    **Arguments:**

    - `energy`: the functional F of a measure (`PotentialEnergy(V) + InteractionEnergy(K)`,
      `NetworkRisk`, …), or a mean-field system without noise, such as `ShallowNetwork`, whose
      velocity is −∇ δF/δμ.
    - `temperature`: τ ≥ 0, the weight of the entropy.
    """

    energy: AbstractEnergy | AbstractMeanField
    temperature: FloatScalar = 1.0

    def rates(self, t, x, mu):
        temperature = self.temperature
        if isinstance(self.energy, AbstractEnergy):
            velocity = self.energy.velocity(x, mu)
            diffusivity = self.energy.diffusivity(x, mu)
            temperature = temperature if diffusivity is None else temperature + diffusivity
        else:
            velocity = self.energy.rates(t, x, mu).velocity
        dtype = jnp.result_type(*jax.tree.leaves(velocity))
        return Rates(velocity, Isotropic(jnp.sqrt(2 * jnp.asarray(temperature, dtype))))
