"""Graphs as TensorFlow's files: frozen graphs and SavedModels, written and read without TensorFlow."""
