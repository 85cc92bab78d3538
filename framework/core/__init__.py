"""Argument checks, errors, nested structures, dtypes, registry and configuration: the lowest rank, without jax."""
