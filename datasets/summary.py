"""Seeing a pipeline: its stages and their cost as text, as a drawing, and its first elements."""

from __future__ import annotations

from lamina.datasets.clock import Clock
from lamina.datasets.nodes.base import Node


def describe_pipeline(node: Node, clock: Clock | None) -> str:
    return ""


def draw_pipeline(node, clock, path): ...
def show_elements(elements, **o): ...
