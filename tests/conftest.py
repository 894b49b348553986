"""One configuration for all tests: float64, strict promotion, four host devices."""

import os

import jax
import pytest

# Tests wait for the compiler: without its expensive passes they take half of the time. Set before
# the backend starts; what the caller has set stays.
_FLAGS = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if jax.__version_info__ < (0, 11):  # Later releases end on flags that they do not know.
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(_FLAGS))

# Before the backend starts: sharded runs need devices.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_code():
    """What one file compiled is of no use to the next, and adds up to gigabytes."""
    yield
    jax.clear_caches()


# Of these tables the default suite takes every second row; the slow tests take the rest.
HALVED = """
    test_a_kernel_comes_back_from_unlabelled_snapshots
    test_a_loop_of_ones_own_takes_the_path_of_simulate
    test_declared_functional_never_increases test_f_divergences_by_quadrature
    test_first_variation_and_velocity_are_derivatives_of_the_value
    test_gradients_are_differences_also_of_a_measure_against_itself test_least_at_the_exact_field
    test_matern_is_a_bessel_function test_momenta_on_the_sphere
    test_noise_on_the_simplex_runs_to_its_law test_orders_of_the_solvers
    test_p_values_are_calibrated_and_see_a_shift test_run_stays_on_its_space
    test_sliced_flow_dissipates_the_relative_entropy
    test_the_path_does_not_depend_on_the_number_of_devices
    test_weak_order_against_exact_moments_of_sgd
""".split()  # noqa: SIM905


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    seen = dict.fromkeys(HALVED, 0)
    for item in items:
        name = getattr(item, "originalname", None)
        if name in seen:
            seen[name] += 1
            if seen[name] % 2 == 0:
                item.add_marker(pytest.mark.slow)
