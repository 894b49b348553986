"""The main job in a fast setting, and the examples as scripts."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flowjax_measures._cli import _quickstart


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what other libraries warn of while drawing
def test_quickstart_writes_its_pictures_and_measures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_quickstart, "DEPTH", 2.0)
    with jax.numpy_dtype_promotion("standard"):  # as optax and the user have it
        assert _quickstart.main(size=64, fit_steps=40, particles=200) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    beta = float(line.split("β = ")[1].split()[0])
    assert abs(beta / _quickstart.BETA - 1) < 0.05
    assert "60 patches" in line and "clusters" in line
    for name in ("clusters", "depth", "closure"):
        assert (tmp_path / "quickstart_output" / f"{name}.png").stat().st_size > 5000


def test_tokens_are_on_the_sphere_in_reading_order():
    image = np.zeros((64, 96, 3))
    image[:32] = 255.0
    image[0, 0] = 7.0
    image[:, 48:, 1] += 3.0
    tokens, colours = _quickstart.initial.patches(jnp.asarray(image), 32, 2)
    assert tokens.x.shape == (6, 2) and colours.shape == (2, 3, 3)
    np.testing.assert_allclose(np.linalg.norm(tokens.x, axis=1), 1)
    np.testing.assert_allclose(tokens.x[1] @ tokens.x[1], 1)
    assert colours[0, 1, 0] == 255 and colours[1, 1, 0] == 0


def test_without_matplotlib_it_says_that_there_are_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = _quickstart.draw(tmp_path / "pictures", None, None, None, None)
    assert "pip install" in said and not (tmp_path / "pictures").exists()
