"""Files that are whole or refused; runs that go on bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures import checkpoint
from flowjax_measures.storage._folder import claimed


def test_trees_come_back_bit_for_bit(tmp_path):
    tree = {
        "x": jr.normal(jr.key(0), (5, 2)),
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "key": jr.key(3),
        "host": np.float64([np.pi, np.nan, -0.0]),
        "number": 0.1,
        "mu": fm.Particles(jnp.ones((3, 2))),
    }
    checkpoint.save(tmp_path / "a" / "file", tree, config="run 1")
    back = checkpoint.load(tmp_path / "a" / "file", tree, config="run 1")
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
        a, b = (jr.key_data(k) if k is tree["key"] or k is back["key"] else k for k in (a, b))
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert os.listdir(tmp_path / "a") == ["file"]


def test_files_that_are_refused(tmp_path):
    path, tree = tmp_path / "file", {"x": jnp.arange(4.0)}
    checkpoint.save(path, tree, config={"beta": 1.0})
    good = path.read_bytes()
    cases = {
        "no checkpoint": b"PK" + good,
        "is truncated": good[:-7],
        "header of .* is truncated": good[:60],
        "is damaged": good[:-1] + bytes([good[-1] ^ 1]),
        "has the format 99": good.replace(b'"format": 3', b'"format": 99'),
    }
    for message, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            checkpoint.load(path, tree, config={"beta": 1.0})
    path.write_bytes(good)
    with pytest.raises(ValueError, match=r"another one: beta differs \(beta: 1.0 → 2.0\)"):
        checkpoint.load(path, tree, config={"beta": 2.0})
    with pytest.raises(ValueError, match="number None"):
        checkpoint.load(path, tree, config={"beta": 1.0}, number=3)
    others = [{"x": jnp.arange(5.0)}, {"y": jnp.arange(4.0)}, {"x": jnp.arange(4)}, {"x": 1.0}]
    for like in others:
        with pytest.raises(ValueError, match="`like`"):
            checkpoint.load(path, like, config={"beta": 1.0})
    path.write_bytes(good + b"more")
    with pytest.raises(ValueError, match="too long"):
        checkpoint.load(path, tree, config={"beta": 1.0})
    start = good[: good.index(b"{")]
    for header in (b"[]", b"3", b'{"format": 3}', b"[" * 100_000):
        path.write_bytes(start + header + b"\n")
        with pytest.raises(ValueError, match="header"):
            checkpoint.load(path, tree)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        checkpoint.load(path, tree)


def test_what_differs_is_said_in_words(tmp_path):
    config = {"law": fm.SelfAttention(beta=2.0), "data": np.arange(100.0), "dt": 0.1}
    checkpoint.save(tmp_path / "file", 1, config)
    other = config | {"law": fm.SelfAttention(beta=3.0), "data": np.ones(100)}
    with pytest.raises(ValueError, match=r"data, law differ \(law\.beta: 2\.0 → 3\.0\)"):
        checkpoint.load(tmp_path / "file", 1, other)


def test_one_process_writes_to_a_folder(tmp_path):
    with claimed(tmp_path / "a"):
        with pytest.raises(ValueError, match="`folder`: another process writes"):
            claimed(tmp_path / "a").__enter__()
        with claimed(tmp_path / "b"):
            pass
    with claimed(tmp_path / "a"):
        assert not list((tmp_path / "a").iterdir())


def test_what_cannot_be_read_again_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Python objects"):
        checkpoint.save(tmp_path / "file", {"x": np.array([{}, None])})
    assert not (tmp_path / "file").exists()


def test_a_link_and_half_written_files(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / ".real.999999999").write_bytes(b"half")
    checkpoint.save(tmp_path / "link", jnp.arange(3.0))
    assert (tmp_path / "link").is_symlink() and not (tmp_path / ".real.999999999").exists()
    np.testing.assert_array_equal(checkpoint.load(tmp_path / "real", jnp.zeros(3)), np.arange(3.0))


class Noisy(fm.AbstractMeanField):
    """Attention under a slow clock, with both kinds of noise."""

    sigma: float

    def rates(self, t, x, mu):
        noise = fm.Isotropic(self.sigma) + fm.Common(0.2)
        return fm.Rates(jnp.cos(t) * mu.mean(logits=lambda y: x @ y) - x, noise)


ARGUMENTS = {"ts": np.linspace(0.3, 1.8, 6), "dt": 0.05, "key": jr.key(1), "every": 2}


def resumable(folder, sigma=0.3, **kwargs):
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    return fm.simulate_resumable(folder, Noisy(sigma), mu, **{**ARGUMENTS, **kwargs})


def test_a_run_goes_on_bit_for_bit(tmp_path):
    """It is `simulate`; stopped after its second piece it ends with the same bits."""
    whole = resumable(tmp_path / "whole")
    options = {name: value for name, value in ARGUMENTS.items() if name != "every"}
    truth = fm.simulate(Noisy(0.3), fm.Particles(jr.normal(jr.key(0), (6, 2))), **options)
    np.testing.assert_allclose(whole.ys.x, truth.ys.x, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(whole.final.x, truth.final.x, rtol=1e-13, atol=1e-14)
    assert whole.stats["num_steps"] == truth.stats["num_steps"] == 30
    assert whole.result == fm.Results.successful

    save, written = checkpoint.save, []

    def interrupted(path, *args, **options):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        save(path, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowjax_measures.simulation._resume.save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            resumable(tmp_path / "stopped")
    assert [p.name for p in written] == ["piece-000000", "state", "piece-000001"]
    jax.clear_caches()
    on = resumable(tmp_path / "stopped")
    for a, b in zip(jax.tree.leaves((on.ys, on.final)), jax.tree.leaves((whole.ys, whole.final)),
                    strict=True):  # fmt: skip
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    with pytest.raises(ValueError, match="another one"):
        resumable(tmp_path / "stopped", sigma=0.31)
    with pytest.raises(ValueError, match="`every`"):
        resumable(tmp_path / "none", every=0)


SCRIPT = """
import sys, jax, jax.numpy as jnp, numpy as np
import flowjax_measures as fm
law = fm.SelfAttention(beta=2.0) + fm.Custom(lambda t, x, mu: fm.Rates(-x, fm.Isotropic(0.3)))
if sys.argv[1] == "run":
    mu = fm.initial.normal(jax.random.key(0), 64, 3)
    run = fm.simulate_resumable(sys.argv[2], law, mu, np.linspace(0, 5, 101), dt=1e-3,
                                key=jax.random.key(1), observe=dict(mean=lambda mu: mu.mean()))
    out = run.ys["mean"], run.final.x
else:
    def end(p, key):
        mu = fm.initial.normal(key, 64, 3)
        law = fm.SelfAttention(beta=p["beta"])
        return fm.simulate(law, mu, [0.0, 0.5], dt=1e-3, throw=False).final.covariance()
    beta = dict(beta=[1.0, 2.0, 4.0, 8.0])
    out = fm.sweep(end, beta, seeds=8, folder=sys.argv[2], chunk=2).values,
np.savez(sys.argv[3], *out)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_sigkill(kind, tmp_path):
    """Killed three times at moments of no choice, it ends with the bits of the quiet run."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}

    def start(folder):
        arguments = [sys.executable, "-c", SCRIPT, kind, str(tmp_path / folder)]
        return subprocess.Popen([*arguments, str(tmp_path / f"{folder}.npz")], env=environment)

    assert start("quiet").wait(300) == 0
    pieces = 0
    for _ in range(3):
        process = start("killed")
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "killed").glob("*0*"))) <= pieces + 1:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
        process.wait()
        pieces = len(list((tmp_path / "killed").glob("*0*")))
    assert start("killed").wait(300) == 0
    quiet, killed = (np.load(tmp_path / f"{name}.npz") for name in ("quiet", "killed"))
    for name in quiet.files:
        assert quiet[name].tobytes() == killed[name].tobytes()


def test_fingerprints_do_not_depend_on_the_process():
    config = {"law": fm.SelfAttention(beta=2.0), "f": np.sin, "x": jnp.ones(2), "key": jr.key(0)}
    assert checkpoint.fingerprint(config) == checkpoint.fingerprint(dict(config))
    assert checkpoint.fingerprint(config) != checkpoint.fingerprint(config | {"x": jnp.ones(3)})
    assert json.dumps(checkpoint.fingerprint(config))
