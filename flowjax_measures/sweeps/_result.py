"""What a sweep returns: stacked values with named axes, and its way to xarray and to files."""

import os
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import PyTree

from ..storage._xarray import names, optional


class Sweep(eqx.Module):
    """What `sweep` returns.

    - `values`: the function's values, NumPy arrays whose leading axes are those of `coords`.
    - `coords`: name of each axis, in order, and the values along it; positions 0, 1, … where an
      axis runs over more than numbers.

    !!! example

        `fm.sweep(lambda p: p["a"] ** 2, dict(a=[1.0, 2.0])).values`
    """

    values: PyTree
    coords: dict[str, np.ndarray]

    def variables(self) -> dict[str, np.ndarray]:
        """The values by name: a dict's keys, joined by dots; "value" for a single array."""
        return {name or "value": leaf for name, leaf in names(self.values).items()}

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the axes of `coords`, then `<variable>_0`, `<variable>_1`, …"""
        data = {
            name: ((*self.coords, *(f"{name}_{i}" for i in range(a.ndim - len(self.coords)))), a)
            for name, a in self.variables().items()
        }
        return optional("xarray").Dataset(data, coords=self.coords)

    def to_zarr(self, path: str | os.PathLike) -> None:
        """Writes the data set of `to_xarray` to a Zarr store."""
        optional("zarr")
        self.to_xarray().to_zarr(path, mode="w", consolidated=False)

    def to_parquet(self, path: str | os.PathLike) -> None:
        """Writes a Parquet table of one row a run: its coordinates, then its values.

        Values that are arrays become flat lists in row-major order; the field's metadata hold
        their shape.
        """
        arrow = optional("pyarrow")
        shape = tuple(a.size for a in self.coords.values())
        grids = np.meshgrid(*self.coords.values(), indexing="ij")
        columns = {name: grid.ravel() for name, grid in zip(self.coords, grids, strict=True)}
        fields, arrays = [], []
        for name, column in (columns | self.variables()).items():
            inner = () if name in columns else column.shape[len(shape) :]
            array = arrow.array(np.ascontiguousarray(column).ravel())
            if inner:
                array = arrow.FixedSizeListArray.from_arrays(array, int(np.prod(inner)))
            fields.append(arrow.field(name, array.type, metadata={"shape": str(list(inner))}))
            arrays.append(array)
        table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields))
        optional("pyarrow.parquet").write_table(table, path)
