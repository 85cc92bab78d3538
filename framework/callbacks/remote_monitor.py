"""RemoteMonitor."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import warnings
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.core.checks import check_number


class RemoteMonitor(Callback):
    """Sends the logs of each epoch to a server, by HTTP POST.

    The logs go as JSON with the number of the epoch: `{"epoch": 0, "loss": 0.5}`. A server that cannot be reached is
    warned of once and does not stop the training.

    Args:
        root: the address of the server.
        path: the path on it.
        field: the name of the form's field that holds the JSON, if `send_as_json` is False.
        headers: further HTTP headers.
        send_as_json: whether the JSON is the body of the request, rather than in a form.
        timeout: the most seconds to wait for the server.

    Raises:
        ValueError: `root` is no address of HTTP.

    Example:
        >>> monitor = RemoteMonitor("http://localhost:9000", send_as_json=True)
        >>> monitor.root + monitor.path
        'http://localhost:9000/publish/epoch/end/'
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: dict[str, str] | None = None,
        send_as_json: bool = False,
        timeout: float = 10.0,
    ):
        super().__init__()
        if urllib.parse.urlsplit(root).scheme not in ("http", "https"):
            raise ValueError(f"RemoteMonitor: root must start with http:// or https://, got {root!r}.")
        self.root, self.path, self.field = root, path, field
        self.headers = headers
        self.send_as_json = send_as_json
        self.timeout = check_number("RemoteMonitor", "timeout", timeout, 0)
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sends the logs."""
        text = json.dumps({"epoch": epoch, **{k: np.asarray(v).tolist() for k, v in (logs or {}).items()}})
        if self.send_as_json:
            body, kind = text.encode(), "application/json"
        else:
            body, kind = urllib.parse.urlencode({self.field: text}).encode(), "application/x-www-form-urlencoded"
        request = urllib.request.Request(self.root + self.path, body, {"Content-Type": kind, **(self.headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout):
                pass
        except (OSError, ValueError) as error:  # URLError and time-outs are OSErrors; ValueError is of a bad answer
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"RemoteMonitor: could not send the logs to {self.root + self.path}: {error}. Training goes on; "
                    "later failures are not reported.",
                    stacklevel=2,
                )
