"""Graphs as StableHLO: the program by jax.export, the weights beside it; jax alone runs them."""
