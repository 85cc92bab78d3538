"""Ready data sets: small ones embedded, larger ones fetched on first use.

They are used as `lamina.datasets.digits` and so on, by attribute and by `import lamina.datasets.digits`.
"""

import sys
from importlib import util
from types import ModuleType


def _lazy(name: str) -> ModuleType:
    """The module `name` of this package, which runs when something of it is first used."""
    spec = util.find_spec(f"{__name__}.{name}")
    if spec is None or spec.loader is None:
        raise ImportError(f"lamina.datasets has no data set {name!r}")
    spec.loader = util.LazyLoader(spec.loader)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MODULES = {
    name: _lazy(name)
    for name in (
        "breast_cancer",
        "california_housing",
        "cifar10",
        "cifar100",
        "diabetes",
        "digits",
        "fashion_mnist",
        "imdb",
        "iris",
        "mnist",
        "reuters",
        "speech_commands",
        "wine",
    )
}

globals().update(MODULES)
# One module under two names, as `os.path` is: a second copy of the file would be a second module.
sys.modules.update({f"lamina.datasets.{name}": module for name, module in MODULES.items()})
