"""Process-wide settings: the default float, the fuzz factor, the image layout, and where caches live."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lamina.core.checks import check_choice

_settings = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last", "debug": False}


def backend() -> str:
    """The name of the library that computes: always `"jax"`.

    Example:
        >>> backend()
        'jax'
    """
    return "jax"


def floatx() -> str:
    """The default float dtype, `"float32"` unless set."""
    return _settings["floatx"]  # type: ignore[return-value]


def set_floatx(value: str) -> None:
    """Sets the default float dtype."""
    _settings["floatx"] = check_choice("set_floatx", "value", value, ["bfloat16", "float16", "float32", "float64"])


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, 1e-7 unless set."""
    return _settings["epsilon"]  # type: ignore[return-value]


def set_epsilon(value: float) -> None:
    """Sets the small number that keeps divisions and logarithms finite."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """The default image layout, `"channels_last"` unless set."""
    return _settings["image_data_format"]  # type: ignore[return-value]


def set_image_data_format(value: str) -> None:
    """Sets the default image layout."""
    options = ["channels_last", "channels_first"]
    _settings["image_data_format"] = check_choice("set_image_data_format", "value", value, options)


def fingerprint() -> tuple:
    """All settings as a hashable value: whoever caches a trace keys it by this, since traces build settings in."""
    return tuple(_settings.values())


def cache_folder() -> Path:
    """The folder for things that can be made again: `LAMINA_CACHE`, or the user's cache folder of the system."""
    given = os.environ.get("LAMINA_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lamina"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lamina"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamina"
