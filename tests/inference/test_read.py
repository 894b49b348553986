"""Snapshots from arrays, tables, labelled arrays and annotated cells."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def test_tables_become_snapshots():
    points, times = np.arange(12.0).reshape(6, 2), ["2", "0", "2", "0", "0", "10"]
    ts, snapshots = fm.from_arrays(points, times)
    np.testing.assert_array_equal(ts, [0, 2, 10])
    np.testing.assert_array_equal(snapshots[0].x, points[[1, 3, 4]])
    table = SimpleNamespace(obs={"day": times, "mass": np.ones(6)}, obsm={"X_pca": points}, X=None)
    assert [s.size() for s in fm.from_anndata(table, "day", "X_pca")[1]] == [3, 2, 1]
    weighted = fm.from_anndata(table, "day", "X_pca", weights="mass")[1]
    np.testing.assert_array_equal(weighted[1].log_w, [0, 0])
    for arguments, words in (
        (("hour", "X_pca"), "`time`.*day"), (("day", "X_umap"), "`embedding`.*X_pca"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            fm.from_anndata(table, *arguments)
    with pytest.raises(ValueError, match="from_arrays"):
        fm.from_anndata(points, "day")
    with pytest.raises(ValueError, match="numbers"):
        fm.from_arrays(points, ["day two"] * 6)
    with pytest.raises(ValueError, match="not finite in 1 rows"):
        fm.from_arrays(points + np.array([[np.nan, 0], *[[0, 0]] * 5]), times)


def test_labelled_arrays_become_snapshots():
    xarray = pytest.importorskip("xarray")
    values = np.arange(12.0).reshape(3, 2, 2)
    values[0, 1] = np.nan
    array = xarray.DataArray(values, dims=("particle", "time", "axis"), coords={"time": [0.5, 2]})
    ts, snapshots = fm.from_xarray(array)
    np.testing.assert_array_equal(ts, [0.5, 2.0])
    np.testing.assert_array_equal(snapshots[0].x, values[:, 0])
    np.testing.assert_array_equal(snapshots[1].x, values[1:, 1])
    with pytest.raises(ValueError, match="`particle`"):
        fm.from_xarray(array.rename(particle="cell"))


DAYS = np.array(["2020-01-03", "2020-01-01", "2020-01-01", "2020-01-10"], "datetime64[D]")


@pytest.mark.parametrize("times", [DAYS, DAYS.astype("datetime64[ns]"), DAYS - DAYS.min()])
def test_dates_and_durations_count_in_a_unit(times):
    points = np.arange(8.0).reshape(4, 2)
    ts, snapshots = fm.from_arrays(points, times, unit="h")
    np.testing.assert_array_equal(ts, [0.0, 48.0, 216.0])
    np.testing.assert_array_equal(snapshots[0].x, points[1:3])
    with pytest.raises(ValueError, match=r"`unit=.D.` for days"):
        fm.from_arrays(points, times)
    with pytest.raises(ValueError, match="`unit` is 'moon'"):
        fm.from_arrays(points, times, unit="moon")
    with pytest.raises(ValueError, match="missing in 1 rows"):
        fm.from_arrays(points, np.append(times[:3], np.array("NaT", times.dtype)), unit="D")


def test_tables_by_the_names_of_their_columns():
    pandas = pytest.importorskip("pandas")
    columns = {"day": [1, 0, 1], "x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0], "m": [1.0, 2.0, 3.0]}
    for table in (columns, pandas.DataFrame(columns)):
        ts, snapshots = fm.from_table(table, "day", weights="m")
        np.testing.assert_array_equal(ts, [0, 1])
        np.testing.assert_array_equal(snapshots[1].x, [[1, 4], [3, 6]])
        np.testing.assert_allclose(np.exp(snapshots[1].log_w), [1, 3], rtol=1e-6)
        assert fm.from_table(table, "day", ["y"])[1][0].x.shape == (1, 1)
        for arguments, name in ((("hour",), "`time`"), (("day", ["z"]), "`columns`")):
            with pytest.raises(ValueError, match=f"{name} is .* the columns"):
                fm.from_table(table, *arguments)
    days = pandas.DataFrame({"when": pandas.to_datetime(DAYS), "x": np.arange(4.0)})
    np.testing.assert_array_equal(fm.from_table(days, "when", unit="D")[0], [0, 2, 9])


def test_a_run_becomes_labelled_and_comes_back():
    pytest.importorskip("xarray")
    run = fm.simulate(fm.MeanShift(), fm.initial.normal(jr.key(0), 5, 2), [0.0, 0.5, 1.0])
    ts, snapshots = fm.from_xarray(run.to_xarray()["x"])
    np.testing.assert_array_equal(ts, run.ts)
    np.testing.assert_array_equal(np.stack([s.x for s in snapshots]), run.ys.x)


def test_a_time_without_rows_is_said():
    xarray = pytest.importorskip("xarray")
    values = np.ones((2, 3, 1))
    values[:, 1] = np.nan
    array = xarray.DataArray(values, dims=("particle", "time", "i"), coords={"time": [0, 1, 2]})
    with pytest.warns(UserWarning, match=r"no particle at the times \[1"):
        ts, _ = fm.from_xarray(array)
    np.testing.assert_array_equal(ts, [0, 2])


def test_annotated_cells():
    """Categories of numbers, a sparse matrix, an embedding, masses: an object of the library."""
    anndata, sparse = pytest.importorskip("anndata"), pytest.importorskip("scipy.sparse")
    pandas = pytest.importorskip("pandas")
    x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]], np.float32)
    obs = pandas.DataFrame({"day": pandas.Categorical(["7", "0", "7"]), "mass": [1.0, 2.0, 3.0]},
                           index=["a", "b", "c"])  # fmt: skip
    cells = anndata.AnnData(sparse.csr_matrix(x), obs=obs, obsm={"X_pca": 2 * x})
    ts, snapshots = fm.from_anndata(cells, "day", weights="mass")
    np.testing.assert_array_equal(ts, [0, 7])
    np.testing.assert_array_equal(snapshots[1].x, x[[0, 2]])
    np.testing.assert_allclose(np.exp(snapshots[1].log_w), [1, 3], rtol=1e-6)
    np.testing.assert_array_equal(fm.from_anndata(cells, "day", "X_pca")[1][0].x, 2 * x[[1]])


@pytest.mark.skipif(find_spec("scanpy") is None, reason="its data set comes with scanpy")
def test_cells_of_blood():
    """700 cells in eleven clusters, whose names are numbers: every cell is in one snapshot."""
    anndata = pytest.importorskip("anndata")
    folder = Path(find_spec("scanpy").origin).parent / "datasets"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The file is of an old format.
        cells = anndata.read_h5ad(folder / "10x_pbmc68k_reduced.h5ad")
    ts, snapshots = fm.from_anndata(cells, "louvain", "X_pca")
    np.testing.assert_array_equal(ts, np.arange(11))
    sizes = cells.obs["louvain"].value_counts()
    assert [s.size() for s in snapshots] == [sizes[str(k)] for k in range(11)]
    mean = cells.obsm["X_pca"][(cells.obs["louvain"] == "3").to_numpy()].mean(0)
    np.testing.assert_allclose(snapshots[3].mean(), mean, rtol=1e-5, atol=1e-5)
