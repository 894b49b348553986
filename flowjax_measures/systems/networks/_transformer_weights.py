r"""The weights of a deep transformer, and what one layer of them does to the tokens of a sequence.

x_i ← x_i + (h/M) Σ_m O_m Σ_j softmax_j(⟨Q_m x_i, K_m x_j⟩/√k) V_m x_j/√k + v_m σ(⟨u_m, x_i⟩)
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import PRNGKey


class TransformerWeights(eqx.Module):
    """The state of a `ResidualTransformer`: A = `embedding` and C = `readout` stay.

    !!! example

        `fm.ResidualTransformer(4, 4, 3, 2, (jnp.ones((5, 3, 2)), jnp.ones((5, 1))))`
    """

    embedding: Float[Array, "D d"]
    query: Float[Array, "L M k D"]
    key: Float[Array, "L M k D"]
    value: Float[Array, "L M k D"]
    output: Float[Array, "L M k D"]
    u: Float[Array, "L M D"]
    v: Float[Array, "L M D"]
    readout: Float[Array, "D d2"]

    @property
    def layers(self) -> tuple[Array, ...]:
        """What is trained, stacked over layers."""
        return self.query, self.key, self.value, self.output, self.u, self.v

    def in_span(self, key: PRNGKey, L: int, M: int) -> "TransformerWeights":
        """Standard heads and neurons as the span of A and C sees them, in its coordinates.

        Half of them have the outputs O, v of the other half turned around: the field of the
        limit is then exact, 0, at first.
        """
        r = jnp.linalg.qr(jnp.concatenate([self.embedding, self.readout], 1), mode="r")
        d, keys = self.embedding.shape[1], jax.random.split(key, 6)
        parts = []
        for key, part, odd in zip(keys, self.layers, (0, 0, 0, 1, 0, 1), strict=True):
            half = jax.random.normal(key, (L, M // 2, *part.shape[2:-1], len(r)), r.dtype)
            parts.append(jnp.concatenate([half, -half if odd else half], 1))
        return TransformerWeights(*[r[:, :d], *parts, r[:, d:]])


def push(x, layer, activation, causal):
    """The mean over heads and neurons of what they add to the tokens x (n, D)."""
    query, key, value, output, u, v = layer
    root = query.shape[1] ** 0.5
    q, k, read = (jnp.einsum("mkd,nd->mnk", a, x) for a in (query, key, value))
    scores = jnp.einsum("mik,mjk->mij", q, k) / root
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((len(x), len(x)), bool)), scores, -jnp.inf)
    attended = jnp.einsum("mkd,mnk->nd", output, jax.nn.softmax(scores) @ read / root)
    return (attended + jax.vmap(jax.vmap(activation))(x @ u.T) @ v) / len(u)
