"""Products of parameters and seeds: the loop's values, named axes, chunks, files."""

import importlib
import os
import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_measures as fm
from flowjax_measures._numerics._memory import free
from flowjax_measures.sweeps import _sweep


def end(p, key):
    """The mean of an Ornstein–Uhlenbeck run, and its points."""
    law = fm.Custom(lambda t, x, mu: fm.Rates(-p["rate"] * x, fm.Isotropic(p["sigma"])))
    mu = fm.initial.normal(key, 4, 2)
    final = fm.simulate(law, mu, [0.0, 0.2], dt=0.1, key=key, throw=False).final
    return {"mean": final.mean(), "spread": jnp.sum(final.x**2)}


PRODUCT = {"rate": [0.5, 1.0, 2.0], "sigma": np.array([0.1, 0.3])}


def test_values_are_those_of_the_loop():
    result = fm.sweep(end, PRODUCT, seeds=3)
    assert list(result.coords) == ["rate", "sigma", "seed"]
    assert result.values["mean"].shape == (3, 2, 3, 2)
    one = jax.jit(end)
    for i, rate in enumerate(PRODUCT["rate"]):
        value = one({"rate": jnp.asarray(rate), "sigma": jnp.asarray(0.3)}, jr.key(2))
        np.testing.assert_allclose(result.values["mean"][i, 1, 2], value["mean"], rtol=1e-13)
        np.testing.assert_allclose(result.values["spread"][i, 1, 2], value["spread"], rtol=1e-13)


def square(p):
    return p["x"] ** 2 + p["pair"][0] * p["pair"][1]


AXES = {"x": np.arange(3.0), "pair": (np.arange(5.0), np.arange(5.0) ** 2)}
SQUARES = AXES["x"][:, None] ** 2 + np.arange(5.0) ** 3


def test_parameters_that_go_together():
    result = fm.sweep(square, AXES)
    np.testing.assert_allclose(result.values, SQUARES)
    np.testing.assert_array_equal(result.coords["pair"], np.arange(5))
    laws = jax.vmap(lambda beta: fm.SelfAttention(beta=beta))(jnp.array([1.0, 4.0]))
    betas = fm.sweep(lambda law: law.beta + 1, laws)
    np.testing.assert_allclose(betas.values, [2.0, 5.0])
    assert list(betas.coords) == ["run"]
    seeds = fm.sweep(lambda p, key: p + jr.normal(key), jnp.zeros(2), seeds=[7, 9]).values
    np.testing.assert_allclose(seeds[1], [jr.normal(jr.key(7)), jr.normal(jr.key(9))])


def test_a_stopped_sweep_goes_on_bit_for_bit(tmp_path):
    whole = fm.sweep(square, AXES, folder=tmp_path / "whole", chunk=4)
    np.testing.assert_allclose(whole.values, SQUARES)
    names = sorted(os.listdir(tmp_path / "whole"))
    assert names == [f"chunk-{i:06d}" for i in range(4)] + ["sweep"]
    # What a process killed in its third chunk leaves: two chunks, and one that has no name yet.
    for name in names[2:4]:
        os.remove(tmp_path / "whole" / name)
    (tmp_path / "whole" / ".chunk-000002.123").write_bytes(b"half of a")
    on = fm.sweep(square, AXES, folder=tmp_path / "whole", progress=True)
    assert on.values.tobytes() == whole.values.tobytes()
    for name in names[1:3]:
        os.remove(tmp_path / "whole" / name)
    on = fm.sweep(square, AXES, folder=tmp_path / "whole", chunk=8)
    assert on.values.tobytes() == whole.values.tobytes()
    with pytest.raises(ValueError, match="another one"):
        fm.sweep(lambda p: square(p) + 1, AXES, folder=tmp_path / "whole")
    with pytest.raises(ValueError, match="another one"):
        fm.sweep(square, AXES | {"x": np.arange(3.0) + 1}, folder=tmp_path / "whole")
    with pytest.raises(ValueError, match="another one"):
        fm.sweep(square, AXES | {"x": np.arange(2.0)}, folder=tmp_path / "whole")
    with open(tmp_path / "whole" / "chunk-000001", "r+b") as file:
        file.truncate(300)
    with pytest.raises(ValueError, match="truncated"):
        fm.sweep(square, AXES, folder=tmp_path / "whole")


def test_more_values_compute_the_new_runs_alone(tmp_path, monkeypatch):
    """Values in front, behind and between, and more seeds; the function sees none of the old."""
    module = importlib.import_module("flowjax_measures.sweeps._sweep")
    put, taken = module._put, []
    monkeypatch.setattr(module, "_put", lambda a, sharding: taken.append(a) or put(a, sharding))
    draw = lambda p, key: p["x"] * jr.normal(key)  # noqa: E731
    call = dict(folder=tmp_path, chunk=4)
    fm.sweep(draw, {"x": [1.0, 3.0]}, seeds=2, **call)
    taken.clear()
    more = fm.sweep(draw, {"x": [0.0, 1.0, 2.0, 3.0]}, seeds=3, **call)
    new = [(x, s) for x in range(4) for s in range(3) if x % 2 == 0 or s == 2]
    asked = np.concatenate(taken[::2])
    assert set(asked) == {0.0, 1.0, 2.0, 3.0} and len(new) == 8 and asked.size == 8
    alone = fm.sweep(draw, {"x": [0.0, 1.0, 2.0, 3.0]}, seeds=3, chunk=4)
    assert more.values.tobytes() == alone.values.tobytes()
    taken.clear()
    again = fm.sweep(draw, {"x": [0.0, 1.0, 2.0, 3.0]}, seeds=3, folder=tmp_path)
    assert again.values.tobytes() == alone.values.tobytes() and not taken


def test_on_another_number_of_devices_with_the_same_bits(tmp_path):
    """Begun on four devices, ended on two: a device's share of a chunk stays."""
    few = NamedSharding(Mesh(np.array(jax.devices()[:2]), ("runs",)), PartitionSpec("runs"))
    truth = fm.sweep(end, PRODUCT, seeds=3, chunk=8)
    fm.sweep(end, PRODUCT, seeds=3, chunk=8, folder=tmp_path)
    os.remove(tmp_path / "chunk-000001")
    on = fm.sweep(end, PRODUCT, seeds=3, folder=tmp_path, sharding=few)
    for a, b in zip(*map(jax.tree.leaves, (on.values, truth.values)), strict=True):
        assert a.tobytes() == b.tobytes()


def test_chunks_fit_into_memory():
    """The limit halves the chunk until the program fits; below one run it says so."""
    heavy = lambda p: jnp.sum(jnp.sin(p["x"] * jnp.outer(jnp.arange(100.0), jnp.arange(100.0))))  # noqa: E731
    sizes = []
    module = importlib.import_module("flowjax_measures.sweeps._sweep")

    def measured(program):
        # What XLA reports where it keeps the outer product of each run.
        sizes.append(program.in_avals[0][0].shape[0])
        return sizes[-1] * 80_000 // 4

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_bytes", measured)
        result = fm.sweep(heavy, {"x": np.arange(32.0)}, memory=200_000)
        assert sizes[0] == 32 and sizes[-1] * 20_000 <= 200_000 and sizes[-1] % 4 == 0
        with pytest.raises(ValueError, match=r"`sweep`: 4 runs at once need 80,000 bytes .*memory"):
            fm.sweep(heavy, {"x": np.arange(32.0)}, memory=1000)
    one = [float(heavy({"x": x})) for x in (0.0, 31.0)]
    np.testing.assert_allclose(result.values[[0, -1]], one, atol=1e-10)


def test_a_chunk_that_does_not_fit_is_refused_before_it_is_allocated():
    """Eight terabytes are asked for."""
    huge = lambda p: jnp.cumsum(p + jnp.zeros((10**6, 10**6)), axis=0)  # noqa: E731
    with pytest.raises(ValueError, match=r"nothing was allocated. Take a smaller problem"):
        fm.sweep(huge, jnp.zeros(1))


def test_runs_and_particles_on_one_mesh():
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("runs", "particles"))
    particles = NamedSharding(mesh, PartitionSpec("particles"))

    def final(sharding):
        def one(p, key):
            mu = fm.Particles(jr.normal(key, (8, 2)), sharding=sharding)
            law = fm.SelfAttention(beta=p["beta"])
            noise = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, fm.Isotropic(0.1)))
            return fm.simulate(law + noise, mu, [0.0, 0.2], dt=0.1, key=key, throw=False).final.x

        return one

    beta = {"beta": [1.0, 2.0]}
    truth = fm.sweep(final(None), beta, seeds=2).values
    both = fm.sweep(
        final(particles), beta, seeds=2, sharding=NamedSharding(mesh, PartitionSpec("runs"))
    )
    np.testing.assert_allclose(both.values, truth, rtol=1e-12)


def test_files(tmp_path):
    xarray, parquet = pytest.importorskip("xarray"), pytest.importorskip("pyarrow.parquet")
    function = lambda p, key: {"z": p["x"] + jr.normal(key, (2, 3)), "n": {"m": p["x"]}}  # noqa: E731
    result = fm.sweep(function, {"x": [1.0, 2.0]}, seeds=[4, 8])
    data = result.to_xarray()
    assert data["z"].dims == ("x", "seed", "z_0", "z_1")
    np.testing.assert_allclose(data["z"].sel(x=2.0, seed=8), 2.0 + jr.normal(jr.key(8), (2, 3)))
    np.testing.assert_allclose(data["n.m"].sel(x=2.0), [2.0, 2.0])
    result.to_parquet(tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table["seed"].to_pylist() == [4, 8, 4, 8] and table["x"].to_pylist() == [1, 1, 2, 2]
    np.testing.assert_allclose(table["z"][3].as_py(), result.values["z"][1, 1].ravel())
    assert table.schema.field("z").metadata[b"shape"] == b"[2, 3]"
    pytest.importorskip("zarr")
    result.to_zarr(tmp_path / "a.zarr")
    xarray.testing.assert_identical(
        xarray.open_zarr(tmp_path / "a.zarr", consolidated=False).load(), data
    )


def test_missing_extras_say_what_to_install(monkeypatch, tmp_path):
    for name in ("xarray", "pyarrow", "zarr"):
        monkeypatch.setitem(sys.modules, name, None)
    result = fm.Sweep(np.zeros(2), {"x": np.zeros(2)})
    for write in (result.to_xarray, lambda: result.to_parquet(tmp_path / "a")):
        with pytest.raises(ImportError, match=r"flowjax_measures\[data\]"):
            write()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"x": 1.0},), "`parameters`: 'x'"),
        (({"x": (np.ones(2), np.ones(3))},), "one leading axis"),
        (({"seed": [1, 2]}, 3), "`seed`"),
        (({"x": [1.0]}, 0), "`seeds` is empty"),
        (({"x": [1.0]}, None, 3), "`chunk` is 3; give a positive multiple of the 4 devices"),
    ],
)
def test_wrong_arguments(arguments, message):
    parameters, seeds, chunk = (*arguments, None, None)[:3]
    with pytest.raises(ValueError, match=message):
        fm.sweep(lambda p, *key: p, parameters, seeds=seeds, chunk=chunk)


def test_a_chunk_is_written_while_the_next_one_runs(tmp_path, monkeypatch):
    order = []
    real = _sweep._put
    monkeypatch.setattr(_sweep, "_put", lambda *a: order.append("run") or real(*a))
    write = _sweep.Chunks.write
    monkeypatch.setattr(
        _sweep.Chunks, "write", lambda *a, **k: order.append("write") or write(*a, **k)
    )
    found = fm.sweep(lambda p: p["x"] ** 2, {"x": np.arange(12.0)}, chunk=4, folder=tmp_path)
    assert order == ["run", "run", "write", "run", "write", "write"]
    np.testing.assert_array_equal(found.values, np.arange(12.0) ** 2)


def test_a_device_that_tells_its_memory_is_asked(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 200}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert free() == 640


@pytest.mark.slow
def test_ten_thousand_settings_are_one_program():
    traces = []

    def spread(p, key):
        traces.append(1)
        law = fm.ConsensusBased(lambda x: jnp.sum(x**2), sigma=p["sigma"], alpha=10.0)
        mu = fm.initial.normal(key, 100, 2)
        run = fm.simulate(law, mu, [0.0, 0.2], dt=0.1, key=key, throw=False)
        return jnp.trace(run.final.covariance())

    found = fm.sweep(spread, {"sigma": np.linspace(0.1, 1.0, 10_000)}, seeds=1)
    assert found.values.shape == (10_000, 1) and len(traces) == 1
    assert np.all(np.isfinite(found.values))
