import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from lamina.datasets.builtin import fetch as module
from lamina.datasets.builtin.fetch import FetchError, RemoteFile, extract, fetch
from lamina.wire.errors import DataLossError

DATA = bytes(range(256)) * 400


class Server:
    """A server on the loopback address. `breaks` lists after how many bytes each next answer is broken off."""

    def __init__(self):
        self.data, self.ranges, self.breaks, self.understands_ranges, self.status = DATA, [], [], True, None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/data.bin"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        if self.status is not None:
            request.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.understands_ranges else 0
        if start >= len(self.data) and wanted:
            request.send_error(416)
            return
        body = self.data[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        request.end_headers()
        if self.breaks:
            body = body[: self.breaks.pop(0)]
            request.close_connection = True
        request.wfile.write(body)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    server = Server()
    yield server
    server.close()


def remote(server, data=DATA, name="data.bin"):
    return RemoteFile(name, server.url, f"sha256:{hashlib.sha256(data).hexdigest()}")


def test_a_file_is_fetched_once(server, tmp_path):
    path = fetch(remote(server))
    assert path == tmp_path / "datasets" / "data.bin" and path.read_bytes() == DATA
    assert fetch(remote(server)) == path
    assert server.ranges == [None]
    assert sorted(p.name for p in path.parent.iterdir()) == ["data.bin"]


def test_a_path_says_where_the_file_is_kept(server, tmp_path):
    assert fetch(remote(server), tmp_path / "own" / "x.bin") == tmp_path / "own" / "x.bin"
    assert fetch(remote(server), "y.bin") == tmp_path / "datasets" / "y.bin"


def test_a_broken_transfer_goes_on_where_it_stopped(server):
    server.breaks = [1000, 500, 0, 2000]
    assert fetch(remote(server)).read_bytes() == DATA
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-", "bytes=1500-", "bytes=3500-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server):
    server.breaks = [1000] + [0] * 20
    with pytest.raises(FetchError):
        fetch(remote(server))
    server.breaks, server.ranges = [], []
    assert fetch(remote(server)).read_bytes() == DATA
    assert server.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_sends_the_whole_file(server):
    server.understands_ranges = False
    server.breaks = [1000]
    assert fetch(remote(server)).read_bytes() == DATA


def test_the_rest_of_another_version_is_not_glued_to_the_first_half(server, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "data.bin.part").write_bytes(b"old" * 100)
    assert fetch(remote(server)).read_bytes() == DATA
    assert server.ranges == ["bytes=300-", None]


def test_a_part_that_is_already_whole_is_used(server, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "data.bin.part").write_bytes(DATA)
    assert fetch(remote(server)).read_bytes() == DATA


def test_a_wrong_checksum_is_refused(server, tmp_path):
    server.data = DATA[:-1] + b"!"
    with pytest.raises(DataLossError, match="has the checksum sha256:.* expected sha256:"):
        fetch(remote(server))
    assert not list((tmp_path / "datasets").glob("data.bin*"))


def test_a_file_put_there_by_hand_is_used_if_it_is_right(server, tmp_path):
    (tmp_path / "datasets").mkdir()
    target = tmp_path / "datasets" / "data.bin"
    target.write_bytes(DATA)
    assert fetch(remote(server)) == target and server.ranges == []
    target.write_bytes(b"wrong")
    assert fetch(remote(server)).read_bytes() == DATA


def test_without_a_network_the_error_says_where_to_put_the_file(server, tmp_path):
    server.close()
    with pytest.raises(FetchError) as caught:
        fetch(remote(server))
    message = str(caught.value)
    assert str(tmp_path / "datasets" / "data.bin") in message and "by hand" in message and "sha256:" in message
    server.__init__()


def test_a_missing_page_is_not_asked_for_again(server):
    server.status = 404
    with pytest.raises(FetchError, match="404"):
        fetch(remote(server))
    assert len(server.ranges) == 1


def test_only_web_addresses_are_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="must start with http"):
        fetch(RemoteFile("x", "file:///etc/passwd", "sha256:0"))


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def test_archives_are_unpacked_once(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", ("./x/1.txt", b"one"), ("x/2.txt", b"two"))
    folder = extract(path, tmp_path / "out")
    assert (folder / "x" / "1.txt").read_bytes() == b"one"
    path.unlink()
    assert extract(path, tmp_path / "out") == folder


@pytest.mark.parametrize("name, content", [("../evil", b""), ("/tmp/evil", b""), ("x/../../evil", b""), ("link", None)])
def test_members_that_lead_out_of_the_folder_are_refused(tmp_path, name, content):
    path = tar_of(tmp_path / "a.tar.gz", ("good", b"x"), (name, content))
    with pytest.raises(DataLossError):
        extract(path, tmp_path / "inner" / "out")
    assert not (tmp_path / "inner" / "out").exists() and not (tmp_path / "evil").exists()


def test_a_damaged_archive_leaves_nothing_behind(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", ("good", bytes(100_000)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataLossError, match="damaged"):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
