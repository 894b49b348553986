"""Faults of machines and people, on everything that resumes: the same bits, or a refusal in words.

    python benchmarks/faults.py --kills 50        # the whole table
    python benchmarks/faults.py --kills 2         # a short form

Each job runs in a process of its own. After a fault the same call is made again, in another
process; its result must be, bit for bit, that of a run which nothing disturbed, or a `ValueError`
or `OSError` of one sentence. Anything else is counted as lost.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FEATURES = ("sweep", "simulate_resumable", "fit", "learn", "minimize")


def job(feature: str, folder: str):
    """One call of each that resumes; some fifty files or versions of files each."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import flowjax_measures as fm

    key = jax.random.key(0)
    law = fm.SelfAttention(beta=2.0) + fm.Custom(lambda t, x, mu: fm.Rates(-x, fm.Isotropic(0.3)))
    if feature == "sweep":

        def end(p, key):
            mu = fm.initial.normal(key, 16, 3)
            attention = fm.SelfAttention(beta=p["beta"])
            return fm.simulate(attention, mu, [0.0, 0.5], dt=0.01, throw=False).final.covariance()

        betas = {"beta": np.linspace(1.0, 4.0, 10)}
        return fm.sweep(end, betas, seeds=10, chunk=2, folder=folder).values
    if feature == "simulate_resumable":
        mu = fm.initial.normal(key, 32, 3)
        ts = np.linspace(0, 5, 101)
        run = fm.simulate_resumable(folder, law, mu, ts, dt=0.01, key=key, every=2)
        return run.ys.x, run.final.x
    if feature == "fit":
        mu, ts = fm.initial.normal(key, 16, 2), [0.0, 0.5, 1.0]
        data = ts, [fm.Particles(mu.x * shrink) for shrink in (1.0, 0.7, 0.5)]
        fitted = fm.fit(
            fm.SelfAttention(beta=1.0), data, loss="energy_distance", where=lambda s: s.beta,
            dt=0.1, steps=300, tolerance=0.0, learning_rate=0.01, folder=folder, key=key,
            identifiability=False,
        )  # fmt: skip
        return fitted.losses, fitted.system.beta
    if feature == "learn":
        points = jax.random.normal(key, (64, 2))

        def loss(net, key):
            return jnp.mean((net["w"] - jax.random.choice(key, points, (8,))) ** 2)

        result = fm.learn(
            loss, {"w": jnp.zeros(2)}, key=key, steps=2500, every=50, folder=folder,
            validation=lambda net: jnp.sum(net["w"] ** 2),
        )  # fmt: skip
        return result.losses, result.validation, result.network["w"]

    def simulator(x):
        x = np.asarray(x)
        return float(np.sum(x**2) + np.sum(np.sin(5 * x)))

    found = fm.minimize(
        simulator, bounds=(-2 * jnp.ones(2), 2 * jnp.ones(2)), key=key, particles=10, budget=600,
        tol=0.0, folder=folder,
    )  # fmt: skip
    return found.x, found.fun, found.nfev, found.population


def child(feature: str, folder: str, limit: int) -> None:
    import jax
    import numpy as np

    cache = Path(tempfile.gettempdir()) / "flowjax_measures_faults_cache"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    if limit:
        # Files of the job cannot grow beyond this, as on a disk that is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        jax.config.update("jax_compilation_cache_dir", None)
    try:
        found = jax.tree.leaves(job(feature, folder))
        digest = [np.asarray(a).tobytes().hex() for a in found]
        answer = {"bits": digest}
    except (ValueError, OSError) as error:
        answer = {"refused": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)


class Trial:
    """A folder, the bits that a call must give, and what came of the calls."""

    def __init__(self, feature: str, home: Path):
        self.feature, self.home = feature, home
        self.counts: dict[str, Counter] = {}
        self.words: dict[str, str] = {}
        quiet = self.call(home / "quiet")
        if "bits" not in quiet:
            raise SystemExit(f"{feature} fails undisturbed: {quiet}")
        self.truth = quiet

    def start(self, folder: Path, limit: int = 0, bound: bool = False):
        arguments = [sys.executable, __file__, "child", self.feature, str(folder), str(limit)]
        if bound and os.getuid() == 0:
            # To root permissions mean nothing, unless it gives up that right.
            arguments = ["setpriv", "--bounding-set=-dac_override", *arguments]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def call(self, folder: Path, limit: int = 0, bound: bool = False) -> dict:
        return self.answer(self.start(folder, limit, bound))

    def answer(self, process) -> dict:
        out, errors = process.communicate()
        lines = [line for line in out.splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {"lost": errors[-400:]}

    def judge(self, fault: str, answer: dict) -> None:
        kind = "same bits" if answer == self.truth else "refused" if "refused" in answer else "lost"
        self.counts.setdefault(fault, Counter())[kind] += 1
        if kind != "same bits":
            self.words[fault] = answer.get("refused", answer.get("lost", "other bits"))

    def copy(self, name: str) -> Path:
        """A folder in which the job is done."""
        target = self.home / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.home / "quiet", target)
        return target


def killed(trial: Trial, kills: int, draw: random.Random) -> None:
    """SIGKILL at moments drawn after the first change in the folder, in chains of ten."""
    folder, struck = trial.home / "killed", 0
    while struck < kills:
        shutil.rmtree(folder, ignore_errors=True)
        for _ in range(min(10, kills - struck)):
            process, begun = trial.start(folder), _state(folder)
            while process.poll() is None and _state(folder) == begun:
                time.sleep(0.001)
            end = time.monotonic() + draw.uniform(0, 0.08)
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.0005)
            alive = process.poll() is None
            struck += alive
            process.kill()
            process.communicate()
            if not alive:
                break
        trial.judge("SIGKILL", trial.call(folder))
        trial.counts["SIGKILL"]["half-written files left"] += len(list(folder.glob(".*")))
    trial.counts["SIGKILL"]["kills"] = struck


def _state(folder: Path) -> list:
    return (
        sorted((p.name, p.stat().st_mtime_ns) for p in folder.glob("*")) if folder.exists() else []
    )


def damaged(trial: Trial, draw: random.Random) -> None:
    """Every file in turn: truncated, one bit flipped, emptied, deleted; two exchanged."""
    names = sorted(p.name for p in (trial.home / "quiet").iterdir())
    for name in draw.sample(names, min(3, len(names))):
        for fault in ("truncated", "bit flipped", "emptied", "deleted"):
            folder = trial.copy("damaged")
            path = folder / name
            content = bytearray(path.read_bytes())
            if fault == "truncated":
                path.write_bytes(content[: draw.randrange(len(content))])
            elif fault == "bit flipped":
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
                path.write_bytes(content)
            elif fault == "emptied":
                path.write_bytes(b"")
            else:
                path.unlink()
            answer = trial.call(folder)
            trial.judge(fault, answer)
            if "refused" in answer and fault != "deleted":
                path.unlink()
                trial.judge(f"{fault}, then deleted as told", trial.call(folder))
    if len(names) > 1:
        folder = trial.copy("exchanged")
        a, b = (folder / name for name in draw.sample(names, 2))
        a.rename(folder / "third"), b.rename(a), (folder / "third").rename(b)
        trial.judge("two files exchanged", trial.call(folder))


def surroundings(trial: Trial) -> None:
    """A full disk, a folder that can't be written, two processes, clocks, links, names."""
    folder = trial.home / "full"
    trial.judge("full disk", trial.call(folder, limit=600))
    trial.judge("full disk, then room", trial.call(folder))
    folder = trial.copy("readonly")
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555)
    trial.judge("complete, read-only folder", trial.call(folder, bound=True))
    folder = trial.home / "two"
    both = [trial.start(folder), trial.start(folder)]
    answers = [trial.answer(process) for process in both]
    if not any(answer == trial.truth for answer in answers):
        answers = [{"lost": "neither of two processes ended"}]
    for answer in answers:
        trial.judge("two processes at once", answer)
    trial.judge("two processes, then again", trial.call(folder))
    folder = trial.copy("clock")
    for i, path in enumerate(folder.iterdir()):
        os.utime(path, (0, 0) if i % 2 else (4e9, 4e9))
    trial.judge("clock changed", trial.call(folder))
    folder = trial.home / "link"
    folder.symlink_to(trial.copy("behind"))
    trial.judge("folder is a link", trial.call(folder))
    trial.judge("long name", trial.call(trial.home / ("n" * 200)))


def main(kills: int, features: list[str], seed: int) -> int:
    lost, table = 0, []
    for feature in features:
        with tempfile.TemporaryDirectory() as home:
            Path(home).chmod(0o755)
            trial, draw = Trial(feature, Path(home)), random.Random(seed)
            surroundings(trial)
            damaged(trial, draw)
            killed(trial, kills, draw)
        for fault, counts in trial.counts.items():
            table.append((feature, fault, dict(counts), trial.words.get(fault, "")[:110]))
            lost += counts["lost"]
            print(f"{feature:20} {fault:36} {dict(counts)}  {table[-1][3]}", flush=True)
    print(f"lost: {lost}")
    return lost


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:4], int(sys.argv[4]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--features", nargs="*", default=list(FEATURES), choices=FEATURES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(main(given.kills, given.features, given.seed) > 0)
