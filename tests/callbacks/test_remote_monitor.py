import http.server
import json
import threading
import urllib.parse
import warnings

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.got.append((self.path, self.headers["Content-Type"], self.headers.get("X-Key"), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        one.got, one.status = [], 200
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


def fit(monitor, epochs=2):
    model = lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 1), "float32")
    return model.fit(x, x, epochs=epochs, verbose=0, callbacks=[monitor]).history


def address(server):
    return f"http://127.0.0.1:{server.server_port}"


def test_json(server):
    monitor = callbacks.RemoteMonitor(address(server), send_as_json=True, headers={"X-Key": "secret"})
    history = fit(monitor)
    assert [row[:3] for row in server.got] == [("/publish/epoch/end/", "application/json", "secret")] * 2
    sent = [json.loads(row[3]) for row in server.got]
    assert [s["epoch"] for s in sent] == [0, 1] and [s["loss"] for s in sent] == history["loss"]


def test_form(server):
    monitor = callbacks.RemoteMonitor(address(server), path="/in", field="logs")
    monitor.on_epoch_end(3, {"loss": np.float32(0.5), "many": np.array([1, 2])})
    ((path, kind, _, body),) = server.got
    assert (path, kind) == ("/in", "application/x-www-form-urlencoded")
    form = urllib.parse.parse_qs(body)
    assert json.loads(form["logs"][0]) == {"epoch": 3, "loss": 0.5, "many": [1, 2]}


def test_failures_are_warned_of_once(server):
    server.status = 500
    monitor = callbacks.RemoteMonitor(address(server))
    with pytest.warns(UserWarning, match="could not send the logs to .*HTTP Error 500") as caught:
        assert len(fit(monitor, 3)["loss"]) == 3
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(monitor, 1)


def test_no_server():
    monitor = callbacks.RemoteMonitor("http://127.0.0.1:1", timeout=0.5)
    with pytest.warns(UserWarning, match="Training goes on"):
        fit(monitor, 1)


def test_address_is_checked():
    with pytest.raises(ValueError, match="root must start with http:// or https://, got 'file:///etc'"):
        callbacks.RemoteMonitor("file:///etc")
