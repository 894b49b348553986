r"""A trained transformer as a flow of tokens: its weights, read into a depth-dependent system."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike, fspath
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import Count
from .._numerics import checked
from ..measures import Particles
from ..systems.attention import (
    FeedForward,
    LayerNorm,
    PiecewiseConstant,
    SelfAttention,
    TransformerBlock,
    WithConstant,
)


class Transformer(NamedTuple):
    """What `read_transformer` returns.

    - `system`: a `TransformerBlock` whose layer k is on the times [k, k + 1).
    - `depth`: the number L of layers.
    - `embed`: a function of token numbers (n,), and optionally their types, to `Particles`.
    - `end`: the normalisation after the last layer, a function of one token; `None` is none.

    !!! example

        `fm.read_transformer(path, heads=12)`
    """

    system: TransformerBlock
    depth: int
    embed: Callable[..., Particles]
    end: Callable[[Float[Array, " d"]], Float[Array, " d"]] | None


class _Family(NamedTuple):
    """Names of the tensors of one family, by what they are."""

    prefix: str
    layer: str
    names: dict[str, str]
    embeddings: tuple[str, ...]
    transposed: bool
    placement: Literal["pre", "post"]
    causal: bool
    epsilon: float
    approximate: bool


_EMBEDDINGS = tuple(f"embeddings.{n}_embeddings.weight" for n in ("word", "position", "token_type"))

_FAMILIES = {
    "gpt2": _Family(
        "transformer.",
        "h.{}.",
        {
            "qkv": "attn.c_attn", "out": "attn.c_proj", "in": "mlp.c_fc", "back": "mlp.c_proj",
            "first": "ln_1", "second": "ln_2",
        },
        ("wte.weight", "wpe.weight"),
        transposed=True, placement="pre", causal=True, epsilon=1e-5, approximate=True,
    ),
    "bert": _Family(
        "bert.",
        "encoder.layer.{}.",
        {
            "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
            "out": "attention.output.dense", "in": "intermediate.dense", "back": "output.dense",
            "first": "attention.output.LayerNorm", "second": "output.LayerNorm",
        },
        _EMBEDDINGS,
        transposed=False, placement="post", causal=False, epsilon=1e-12, approximate=False,
    ),
    "albert": _Family(
        "albert.",
        "encoder.albert_layer_groups.0.albert_layers.0.",
        {
            "q": "attention.query", "k": "attention.key", "v": "attention.value",
            "out": "attention.dense", "in": "ffn", "back": "ffn_output",
            "first": "attention.LayerNorm", "second": "full_layer_layer_norm",
        },
        _EMBEDDINGS,
        transposed=False, placement="post", causal=False, epsilon=1e-12, approximate=True,
    ),
}  # fmt: skip


@checked
def read_transformer(
    weights: str | PathLike | Mapping[str, Any],
    heads: Count,
    *,
    kind: Literal["gpt2", "bert", "albert"] | None = None,
    depth: Count | None = None,
) -> Transformer:
    r"""A trained transformer as a system: its hidden states are those of Euler's steps of length 1.

    **Arguments:**

    - `weights`: a file of tensors, `.safetensors` (which needs the library of that name) or
      `.npz`, or a mapping from their names to arrays; in float32 as a rule, and then so are the
      tokens.
    - `heads`: the number of heads, which no tensor tells.
    - `kind`: whose names the tensors have: "gpt2" (Radford et al. 2019), "bert" (Devlin et al.
      2019) or "albert" (Lan et al. 2020); `None` finds it by them.
    - `depth`: the number of layers; for ALBERT, whose one layer is repeated, it must be given, for
      the others `None` is all there are.

    **Returns:** `Transformer`.

    **Raises:** `ValueError` naming tensors that are missing or have another shape, and heads that
    do not divide the width.

    !!! example

        ```python
        model = fm.read_transformer(path, heads=12)
        tokens = model.embed(jnp.array([464, 3290, 318]))
        times = jnp.arange(model.depth + 1.0)
        run = fm.simulate(model.system, tokens, times, dt=1.0, solver=diffrax.Euler())
        run.ys.x                                     # the hidden states, (L + 1, n, d)
        ```
    """
    tensors = _tensors(weights)
    named = kind or _kind(tensors)
    if named not in _FAMILIES:
        raise ValueError(f'`kind` is {kind!r}; it is "gpt2", "bert" or "albert".')
    family = _FAMILIES[named]
    cut = len(family.prefix)
    tensors = {k[cut:] if k.startswith(family.prefix) else k: v for k, v in tensors.items()}
    if named == "albert":
        if depth is None:
            raise ValueError("`depth` is None; ALBERT repeats one layer: give how often.")
        layers = [_layer(tensors, family, 0, heads)] * depth
    else:
        first = family.layer.format(0).split("0")[0]
        found = {int(k[len(first) :].split(".")[0]) for k in tensors if k.startswith(first)}
        depth = max(found, default=-1) + 1 if depth is None else depth
        if depth < 1:
            raise ValueError(f"`weights` holds no tensor {family.layer.format(0)}…; see `kind`.")
        layers = [_layer(tensors, family, k, heads) for k in range(depth)]
    by_depth = {
        name: PiecewiseConstant(
            jnp.asarray(np.stack([layer[name] for layer in layers])), float(depth)
        )
        for name in layers[0]
    }
    of = by_depth.__getitem__
    attention = SelfAttention(
        of("query"), of("key"), of("value"), 1.0, output=of("output"), causal=family.causal
    )
    perceptron = FeedForward(
        of("in"), of("in bias"), of("back"),
        partial(jax.nn.gelu, approximate=family.approximate), of("back bias"),
    )  # fmt: skip
    norm = lambda n: LayerNorm(of(n), of(n + " bias"), family.epsilon)  # noqa: E731
    norms = norm("first"), norm("second")
    system = TransformerBlock(WithConstant(attention), perceptron, norms, family.placement)
    return Transformer(system, depth, _embedding(tensors, family), _end(tensors))


def _tensors(weights) -> dict[str, np.ndarray]:
    if isinstance(weights, Mapping):
        return {name: np.asarray(value) for name, value in weights.items()}
    path = fspath(weights)
    if path.endswith(".npz"):
        with np.load(path) as archive:
            return dict(archive)
    if not path.endswith(".safetensors"):
        raise ValueError(
            f"`weights` is {path!r}; give a .safetensors file, an .npz archive, or a mapping from "
            "names to arrays."
        )
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ValueError(
            f"`weights` is {path!r}, which needs the library safetensors: install it, or give an "
            ".npz archive or a mapping from names to arrays."
        ) from error
    return load_file(path)


def _kind(tensors) -> str:
    for kind, mark in (("gpt2", "attn.c_attn"), ("albert", "albert_layer"), ("bert", "layer.0.")):
        if any(mark in name for name in tensors):
            return kind
    raise ValueError(
        "`weights` has names of no known family; give `kind` and the names of GPT-2, BERT or "
        f"ALBERT. The first here is {next(iter(tensors), None)!r}."
    )


def _take(tensors, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in tensors:
        raise ValueError(f"`weights` lacks the tensor {name!r}.")
    value = tensors[name]
    fits = value.ndim == len(shape) and all(
        n in (None, m) for n, m in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"`weights`: {name!r} has shape {value.shape}; it is to be {shape}.")
    return value


def _layer(tensors, family: _Family, number: int, heads: int) -> dict[str, np.ndarray]:
    """The matrices of one layer, of tokens (x, 1)."""
    start = family.layer.format(number)
    # Older files have gamma and beta.
    norm = start + family.names["first"]
    ends = (".weight", ".bias") if norm + ".weight" in tensors else (".gamma", ".beta")
    gain = _take(tensors, norm + ends[0], (None,))
    d = len(gain)
    if not (isinstance(heads, int) and heads >= 1) or d % heads:
        raise ValueError(f"`heads` is {heads!r}; give a divisor of the width {d} of the model.")
    k = d // heads

    def affine(name, rows, columns):
        shape = (columns, rows) if family.transposed else (rows, columns)
        weight = _take(tensors, f"{start}{family.names[name]}.weight", shape)
        bias = _take(tensors, f"{start}{family.names[name]}.bias", (rows,))
        return (weight.T if family.transposed else weight), bias

    if "qkv" in family.names:
        weight, bias = affine("qkv", 3 * d, d)
        parts = list(zip(np.split(weight, 3), np.split(bias, 3), strict=True))
    else:
        parts = [affine(name, d, d) for name in ("q", "k", "v")]
    # One more column for the constant 1, split into heads.
    q, key, v = (np.c_[w, b].reshape(heads, k, d + 1) for w, b in parts)
    out, out_bias = affine("out", d, d)
    # The last row of V reads the 1 itself, which O of the first head makes the bias of the output.
    constant = np.zeros((heads, 1, d + 1), q.dtype)
    constant[:, 0, -1] = 1
    output = np.zeros((heads, d + 1, k + 1), q.dtype)
    output[:, :d, :k] = np.moveaxis(out.reshape(d, heads, k), 1, 0)
    output[0, :d, k] = out_bias
    there, there_bias = affine("in", None, d)
    back, back_bias = affine("back", d, len(there))
    found = {
        "query": q / q.dtype.type(np.sqrt(k)), "key": key,
        "value": np.concatenate([v, constant], 1), "output": output,
        "in": there, "in bias": there_bias, "back": back, "back bias": back_bias,
    }  # fmt: skip
    for name in ("first", "second"):
        found[name] = _take(tensors, f"{start}{family.names[name]}{ends[0]}", (d,))
        found[name + " bias"] = _take(tensors, f"{start}{family.names[name]}{ends[1]}", (d,))
    return found


def _embedding(tensors, family: _Family) -> Callable[..., Particles]:
    def embed(tokens: ArrayLike | Sequence[int], types: ArrayLike | None = None) -> Particles:
        """Particles of token numbers (n,), in their order, and of their types (0 by default)."""
        tables = [_take(tensors, name, (None, None)) for name in family.embeddings]
        words = np.asarray(tokens)
        if words.ndim != 1 or len(words) > len(tables[1]):
            raise ValueError(
                f"`tokens` has shape {words.shape}; give at most {len(tables[1])} numbers (n,)."
            )
        if types is not None and len(tables) < 3:
            raise ValueError("`types` is given to a model that knows no types of tokens.")
        if words.min() < 0 or words.max() >= len(tables[0]):
            raise ValueError(f"`tokens` holds numbers that are not 0 … {len(tables[0]) - 1}.")
        x = tables[0][words] + tables[1][: len(words)]
        if len(tables) > 2:
            x = x + tables[2][np.zeros_like(words) if types is None else np.asarray(types)]
            ends = (".weight", ".bias")
            if "embeddings.LayerNorm.weight" not in tensors:
                ends = (".gamma", ".beta")
            g, b = (jnp.asarray(_take(tensors, "embeddings.LayerNorm" + e, (None,))) for e in ends)
            x = jax.vmap(partial(LayerNorm(g, b, family.epsilon), 0.0))(jnp.asarray(x))
            x = np.asarray(x)
        into = "encoder.embedding_hidden_mapping_in."
        if into + "weight" in tensors:
            x = x @ tensors[into + "weight"].T + tensors[into + "bias"]
        return Particles(jnp.asarray(x))

    return embed


def _end(tensors):
    if "ln_f.weight" not in tensors:
        return None
    gain, bias = (jnp.asarray(tensors["ln_f" + e]) for e in (".weight", ".bias"))
    return partial(LayerNorm(gain, bias), 0.0)
