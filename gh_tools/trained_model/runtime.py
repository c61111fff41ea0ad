"""How JAX compiles and multiplies, in training and prediction alike."""

from __future__ import annotations

import functools
import os

import jax
import jax.numpy as jnp

from gh_tools.resources import cache_folder


def configure_jax(precision: str) -> None:
    """Set up JAX for training and prediction: precision, and compiled programs kept between runs.

    Args:
        precision: ``float32`` or ``float64``.
    """
    jax.config.update("jax_enable_x64", precision == "float64")
    keep_programs()


def keep_programs() -> None:
    """Have JAX keep compiled programs between runs, in the user's cache, and multiply in full precision."""
    # GPUs would multiply float32 matrices with 10 bits of mantissa otherwise.
    jax.config.update("jax_default_matmul_precision", "highest")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@functools.cache
def compiler_options() -> dict[str, str] | None:
    """Return options of the compiler for programs of many small products of matrices.

    On CPUs, XLA hands products to a library (YNNPACK) that is made for large ones: without it, the
    step of the default network takes three quarters of the time.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # a version of XLA without this library
        return None
    return options
