"""The one door from stateful code to pure functions: a frame stands in for variables while a function is traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from lamina.core.errors import listing

_frame: ContextVar[Frame | None] = ContextVar("frame", default=None)
_autocast: ContextVar[str | None] = ContextVar("autocast", default=None)


class Frame:
    """The values of a fixed set of variables during one pure call.

    A frame refuses a variable outside its set, on read (it would silently be frozen into the program) and on write
    (it would leak a tracer). It also collects the losses that layers add, and counts draws of random keys.

    Args:
        variables: the variables, in the order of `values`.
        values: one array a variable.
        key: the random key of the call, or None where nothing random may be drawn.
        strict: False lets other variables be read as constants; writing them is refused all the same.
    """

    def __init__(self, variables: Sequence[Any], values: Sequence[Any], key: Any = None, strict: bool = True):
        if len(variables) != len(values):
            raise ValueError(f"Expected {len(variables)} values, one for each variable, got {len(values)}.")
        self._values = {id(v): value for v, value in zip(variables, values, strict=True)}
        self.variables = tuple(variables)
        self.key = key
        self.strict = strict
        self.losses: list[Any] = []
        self.draws: dict[Any, int] = {}

    def read(self, variable: Any) -> Any:
        """The value of a variable in this frame."""
        try:
            return self._values[id(variable)]
        except KeyError:
            if not self.strict:
                return variable.stored
            raise self._refusal(variable, "read") from None

    def write(self, variable: Any, value: Any) -> None:
        """Sets the value of a variable in this frame."""
        if id(variable) not in self._values:
            raise self._refusal(variable, "written")
        self._values[id(variable)] = value

    def values(self) -> tuple:
        """The values now, in the order of the variables."""
        return tuple(self._values[id(v)] for v in self.variables)

    def _refusal(self, variable: Any, verb: str) -> RuntimeError:
        known = [v.path for v in self.variables]
        return RuntimeError(
            f"Variable '{variable.path}' is {verb} inside a compiled function that was not told of it "
            f"(it knows {listing(known[:8], 'and') if known else 'none'}). Keep the variable, or the layer or metric "
            "that owns it, in an attribute of the model, so that the model tracks it."
        )

    def __enter__(self) -> Frame:
        self._token = _frame.set(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        _frame.reset(self._token)


class ScratchFrame(Frame):
    """A frame without variables of its own, for finding out shapes: all may be read, and what is written is dropped."""

    def __init__(self, key: Any = None):
        super().__init__((), (), key, strict=False)

    def write(self, variable: Any, value: Any) -> None:
        """Keeps the value until the frame ends."""
        self._values[id(variable)] = value


def current_frame() -> Frame | None:
    """The frame of the pure call that is being traced, or None outside one."""
    return _frame.get()


def purify(fn: Callable[..., Any], variables: Sequence[Any], strict: bool = True) -> Callable[..., tuple[Any, tuple]]:
    """A pure function out of one that reads and writes variables.

    Args:
        fn: any callable; layers, models and metrics in it may change their variables.
        variables: all variables that it may touch, in the order of the values.
        strict: whether reading a variable outside `variables` is an error (else it is a constant).

    Returns:
        `pure(values, *args, key=None, **kwargs) -> (result of fn, new values)`.

    Example:
        >>> from lamina.state.variable import Variable
        >>> count = Variable(0.0, name="count")
        >>> pure = purify(lambda x: count.assign_add(x), [count])
        >>> _, (new,) = pure((5.0,), 2.0)
        >>> float(new), float(count.value)
        (7.0, 0.0)
    """
    variables = tuple(variables)

    def pure(values: Sequence[Any], *args: Any, key: Any = None, **kwargs: Any) -> tuple[Any, tuple]:
        with Frame(variables, values, key, strict) as frame:
            out = fn(*args, **kwargs)
        return out, frame.values()

    return pure


class autocast:
    """Within the scope, float variables read as `dtype`; None reads them as they are stored."""

    def __init__(self, dtype: str | None):
        self._dtype = dtype

    def __enter__(self) -> None:
        self._token = _autocast.set(self._dtype)

    def __exit__(self, *exc: Any) -> None:
        _autocast.reset(self._token)


def autocast_dtype() -> str | None:
    """The dtype that float variables read as, or None."""
    return _autocast.get()
