"""One configuration for all tests: float64, strict promotion, four host devices."""

import functools
import gc
import os

import jax
import numpy as np
import pytest
from shares import SHARES

# Tests wait for the compiler: without its expensive passes they take half of the time. Set before
# the backend starts; what the caller has set stays.
# One part a program: each process has one core.
_FLAGS = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
if jax.__version_info__ < (0, 11):  # Later releases end on flags that they do not know.
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS))

# Before the backend starts: sharded runs need devices.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")


# A value that is none is equal to nothing.
np.testing.assert_allclose = functools.partial(np.testing.assert_allclose, equal_nan=False)

# Tracing makes millions of objects: what is there before is looked at no more.
gc.set_threshold(200_000, 20, 100)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_code():
    """What one file compiled is of no use to the next, and adds up to gigabytes."""
    yield
    jax.clear_caches()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    seen = dict.fromkeys(SHARES, 0)
    for item in items:
        name = getattr(item, "originalname", None)
        if name in seen:
            seen[name] += 1
            if seen[name] % SHARES[name] != 1:
                item.add_marker(pytest.mark.slow)
