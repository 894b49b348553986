"""The runs behind the live page: `python docs/_live.py` writes `_static/live_runs.js`.

Angles are whole numbers of thousandths of a turn, a row a time; the digest is that of this file.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RUNS = HERE / "_static" / "live_runs.js"
BETAS = (1.0, 4.0, 16.0, 64.0)


def digest() -> str:
    """What tells whether the runs are those of this code."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def runs() -> dict:
    """Self-attention on the circle for several β, over decades of time."""
    import jax
    import jax.random as jr

    import flowjax_measures as fm

    jax.config.update("jax_enable_x64", True)
    tokens = fm.initial.uniform_on_sphere(jr.key(0), 48, 2)
    ts = np.concatenate([[0.0], np.logspace(-1, 4, 120)])
    found = []
    for beta in BETAS:
        run = fm.simulate(fm.SelfAttention(beta=beta), tokens, ts)
        turns = np.arctan2(run.ys.x[..., 1], run.ys.x[..., 0]) / (2 * np.pi) % 1
        clusters = jax.vmap(lambda mu: fm.number_of_clusters(mu, 0.1))(run.ys)
        found.append(
            {
                "beta": beta,
                "turns": np.round(1000 * turns).astype(int).tolist(),
                "clusters": np.asarray(clusters).astype(int).tolist(),
            }
        )
    return {"digest": digest(), "ts": np.round(ts, 3).tolist(), "runs": found}


if __name__ == "__main__":
    # A script, and no data to fetch: the page opens from a folder too.
    RUNS.write_text(f"window.liveRuns={json.dumps(runs(), separators=(',', ':'))};\n")
