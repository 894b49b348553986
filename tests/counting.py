"""What JAX compiles, counted by JAX itself."""

import contextlib

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compilations():
    """The list of what is compiled inside."""
    found: list[str] = []

    def listen(name, *_, **__):
        if name == _EVENT:
            found.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
