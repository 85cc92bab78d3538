"""What layers and optimizers share when they are written to model files."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from lamina.core.errors import ShapeError, listing, owner_label
from lamina.state.variable import Variable


class Saveable:
    """An object whose own variables a model file holds under the numbers 0, 1, 2, ...

    Override `save_own_variables` and `load_own_variables` together to keep something else.
    """

    def _saved_variables(self) -> list[Variable | np.ndarray]:
        """The variables of this object alone, in the order of the file.

        An array among them stands for a variable that Keras has there and lamina has not: it is written as it is, and
        passed over when the file is read.
        """
        return []

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Puts the variables of this object alone, as numpy arrays, into a dict."""
        for i, variable in enumerate(self._saved_variables()):
            store[str(i)] = np.asarray(variable.stored) if isinstance(variable, Variable) else variable

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Sets the variables from what `save_own_variables` put into a dict.

        Raises:
            ValueError: the dict holds more or fewer arrays than there are variables.
            ShapeError: an array has another shape than its variable; nothing is changed then.
        """
        own = self._saved_variables()
        if len(store) != len(own):
            names = [v.name for v in own if isinstance(v, Variable)]
            raise ValueError(
                f"{owner_label(self)}: the file should hold {len(own)} variables "
                f"({listing(names[:8], 'and') or 'none'}), but holds {len(store)}."
            )
        pairs = [(v, np.asarray(store[str(i)])) for i, v in enumerate(own) if isinstance(v, Variable)]
        for variable, value in pairs:
            if value.shape != variable.shape:
                raise ShapeError(
                    f"{owner_label(self)}: weight '{variable.path}' has shape {variable.shape}, in the file it has "
                    f"{value.shape}."
                )
        for variable, value in pairs:
            variable.assign(value)
