"""Which stored tensor goes to which variable: by name, through a map of names, strictly or as far as they fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lamina.core.errors import ShapeError, did_you_mean, listing

_SHOWN = 20

NameMap = Mapping[str, str] | Callable[[str], str | None]


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file.

    Attributes:
        loaded: the variables that were set, each with the name of its tensor in the file.
        missing: variables that the file does not hold.
        unexpected: tensors of the file that no variable wants.
        mismatched: variables whose shape differs, with (own shape, shape in the file).
    """

    loaded: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple[tuple, tuple]] = field(default_factory=dict)

    @property
    def left(self) -> list[str]:
        """The variables that were left as they are."""
        return [*self.missing, *self.mismatched]

    @property
    def complete(self) -> bool:
        """Whether all fitted."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} loaded"]
        lines += [f"missing in the file: {_some(self.missing)}"] if self.missing else []
        lines += [f"unknown to the model: {_some(self.unexpected)}"] if self.unexpected else []
        lines += [f"of another shape: {_differences(self.mismatched)}"] if self.mismatched else []
        return "; ".join(lines)


def match_tensors(
    owner: str,
    source: str,
    stored: Mapping[str, Iterable[int]],
    own: Mapping[str, Iterable[int]],
    skip_mismatch: bool = False,
    partial: bool = False,
    name_map: NameMap | None = None,
    pattern: str | re.Pattern | Iterable[str] | None = None,
) -> LoadReport:
    """Pairs stored tensors with variables.

    Args:
        owner: how errors name the model.
        source: how errors name the file.
        stored: the shapes of the tensors of the file, by name.
        own: the shapes of the variables, by path.
        skip_mismatch: whether missing, unexpected and mismatched ones are all passed over.
        partial: whether missing and unexpected ones are passed over; another shape stays an error.
        name_map: the own path for a stored name: a dict (other names stand for themselves), or a function, which may
            return None for a tensor to pass over.
        pattern: regular expressions; only variables with a path that one of them is found in are loaded.

    Returns:
        What goes where, and what does not fit.

    Raises:
        ValueError: something is missing or unexpected; the message lists all that does not fit.
        ShapeError: nothing but shapes differ.

    Example:
        >>> report = match_tensors("Model", "a file", {"old/w": (2, 3)}, {"new/w": (2, 3)}, name_map={"old/w": "new/w"})
        >>> report.loaded
        {'new/w': 'old/w'}
    """
    patterns = None if pattern is None else [pattern] if isinstance(pattern, (str, re.Pattern)) else list(pattern)
    wanted = {p: tuple(s) for p, s in own.items() if patterns is None or any(re.search(r, p) for r in patterns)}
    if patterns is not None and own and not wanted:
        raise ValueError(f"{owner}: pattern {pattern!r} is found in none of the paths, such as {_some(own, 5)}.")
    named = _rename(owner, stored, name_map)
    if isinstance(name_map, Mapping):
        unknown = [k for k in name_map if k not in stored]
        strange = [v for v in name_map.values() if v not in own]
        if unknown and not (partial or skip_mismatch):
            raise ValueError(f"{owner}: name_map names {_some(unknown)}, which {source} does not hold.")
        if strange:
            raise ValueError(
                f"{owner}: name_map leads to {_some(strange)}, which the model does not have."
                f"{did_you_mean(strange[0], own)}"
            )
    report = LoadReport()
    for path, shape in wanted.items():
        if path not in named:
            report.missing.append(path)
        elif tuple(stored[named[path]]) != shape:
            report.mismatched[path] = (shape, tuple(stored[named[path]]))
        else:
            report.loaded[path] = named[path]
    if patterns is None:
        report.unexpected.extend(name for path, name in named.items() if path not in wanted)
    if not skip_mismatch:
        _require(owner, source, report, partial)
    return report


def _rename(owner: str, stored: Mapping[str, Any], name_map: NameMap | None) -> dict[str, str]:
    """The stored name for each path that the map gives."""
    named: dict[str, str] = {}
    for name in stored:
        path = name if name_map is None else name_map(name) if callable(name_map) else name_map.get(name, name)
        if path is None:
            continue
        if path in named:
            raise ValueError(f"{owner}: name_map leads both '{named[path]}' and '{name}' to '{path}'.")
        named[path] = name
    return named


def _require(owner: str, source: str, report: LoadReport, partial: bool) -> None:
    missing, unexpected = ([], []) if partial else (report.missing, report.unexpected)
    shapes = _differences(report.mismatched)
    if missing or unexpected:
        hint = did_you_mean(missing[0], unexpected) if missing else ""
        text = (
            f"{owner}: {source} does not hold the weights of this model. Missing in the file: "
            f"{_some(missing) or 'none'}; unknown to the model: {_some(unexpected) or 'none'}."
            + (f" Of another shape: {shapes}." if shapes else "")
            + f"{hint} partial=True loads those that both have, skip_mismatch=True what fits, name_map= pairs names."
        )
        raise ValueError(text)
    if shapes:
        raise ShapeError(
            f"{owner}: {source} holds weights of another shape: {shapes}. skip_mismatch=True loads what fits."
        )


def _some(names: Iterable[str], most: int = _SHOWN) -> str:
    names = list(names)
    return listing(names[:most], "and") + (f" and {len(names) - most} more" if len(names) > most else "")


def _differences(mismatched: Mapping[str, tuple[tuple, tuple]]) -> str:
    parts = [f"'{p}' has shape {a}, in the file it has {b}" for p, (a, b) in list(mismatched.items())[:_SHOWN]]
    more = len(mismatched) - _SHOWN
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")
