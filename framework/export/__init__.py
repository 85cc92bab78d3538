"""Graphs as files of other runtimes, and back."""
