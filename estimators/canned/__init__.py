"""Canned estimators: a backbone and a head each."""
