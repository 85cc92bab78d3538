"""Every example in a docstring runs, and every public name has a docstring."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import numpy
import pytest

import lamina
import lamina.datasets
import lamina.estimators


def names():
    found = ["lamina"]
    for package in (lamina, lamina.datasets, lamina.estimators):
        found += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return sorted({n for n in found if n != "lamina.cli.main"})


# their examples compile for ten seconds and more
LONG = {
    "lamina.layers.image_mixing",
    "lamina.layers.image_filter",
    "lamina.estimators.canned.sdca",
    "lamina.estimators.boosted_trees.estimator",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in names()])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):  # names that are loaded when first used
        getattr(module, public)
    for value in list(vars(module).values()):
        if inspect.ismodule(value):
            value.__doc__  # noqa: B018 - modules that are loaded when looked at
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    finder = doctest.DocTestFinder(exclude_empty=True)
    failures = []
    common = {"np": numpy, "Dataset": lamina.datasets.Dataset}
    for test in finder.find(module, name, extraglobs=common):
        runner = doctest.DocTestRunner(optionflags=flags)
        output: list[str] = []
        runner.run(test, out=output.append)
        if runner.failures:
            failures.append("".join(output))
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("name", [n for n in names() if not any(p.startswith("_") for p in n.split("."))])
def test_public_names_are_described(name):
    module = importlib.import_module(name)
    bare = [
        attribute
        for attribute, value in list(vars(module).items())  # some are loaded when looked at
        if not attribute.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == name
        and not (value.__doc__ or "").strip()
    ]
    assert not bare and (module.__doc__ or "").strip()
