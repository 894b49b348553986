"""One configuration for all tests: float64, strict promotion, four host devices."""

import jax

# Before the backend starts: sharded runs need devices.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
