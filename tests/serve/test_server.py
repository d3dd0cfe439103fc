"""The server over HTTP: who may ask, what is refused, many at once."""

import http.client
import json
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlencode

import pytest

from reidlib.gallery.pictures import picture_files
from reidlib.serve import request
from reidlib.serve import server as listening
from reidlib.serve.server import PageServer
from tests.serve.conftest import serving


def ask(server, method, path, body=None, **headers):
    """Status, headers and body; headers may be replaced, or left out where they are None."""
    host = headers.pop("Host", f"127.0.0.1:{server.server_address[1]}")
    with closing(http.client.HTTPConnection(*server.server_address, timeout=600)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in ({"Host": host} | ({} if body is None else {"Content-Length": len(body)}) | headers).items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()


def search(server, body=b"", **query):
    status, _, content = ask(server, "POST", f"/search?{urlencode(query, doseq=True)}", body)
    return status, json.loads(content)


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/", "text/html; charset=utf-8", b"<title>Who is this?"),
        ("/page.js", "text/javascript; charset=utf-8", b"fetch"),
        ("/page.css", "text/css; charset=utf-8", b".answer"),
        ("/look.css", "text/css; charset=utf-8", b":root"),
        ("/thumbnail/5", "image/jpeg", b"\xff\xd8"),
        ("/facts", "application/json", b'"pictures": 24'),
        ("/pictures?count=3", "application/json", b'"total": 24'),
        ("/context/3", "application/json", b'"tracklet"'),
    ],
)
def test_what_the_page_needs_is_served_and_nobody_elses_page_may_use_it(server, path, kind, words):
    status, headers, content = ask(server, "GET", path)
    assert status == 200 and headers["Content-Type"] == kind and words in content
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store" and "Access-Control-Allow-Origin" not in headers


def test_a_picture_and_a_row_are_searched_for(server, page, crops):
    data = picture_files(crops)[6].read_bytes()
    status, found = search(server, data, count=2, camera=['=HYPERLINK("http://x")'])
    assert status == 200 and found["answers"][0]["row"] in (18, 19)
    status, found = search(server, row=6, every="", count=22)
    assert status == 200 and len(found["answers"]) == 22


def test_it_listens_on_loopback_alone(server):
    assert server.server_address[0] == "127.0.0.1" and server.address.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", None])
def test_another_name_that_leads_here_is_refused(server, host):
    named = host and host.format(port=server.server_address[1])
    for method, path in (("GET", "/"), ("GET", "/thumbnail/0"), ("POST", "/search?row=0")):
        status, _, content = ask(server, method, path, b"" if method == "POST" else None, Host=named)
        assert status == 421 and server.address in json.loads(content)["error"]


def test_localhost_is_this_host(server):
    port = server.server_address[1]
    origin = f"http://localhost:{port}"
    assert ask(server, "POST", "/search?row=0", b"", Host=f"LOCALHOST:{port}", Origin=origin)[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:{port}", ""])
def test_other_pages_cannot_search(server, origin):
    named = origin.format(port=server.server_address[1])
    status, headers, _ = ask(server, "POST", "/search?row=0", b"", Origin=named)
    assert status == 403 and "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_can_link_here_but_show_nothing_of_it(server, site):
    assert ask(server, "GET", "/", Sec_Fetch_Site=site)[0] == 200
    assert ask(server, "GET", "/thumbnail/0", Sec_Fetch_Site=site)[0] == 403
    assert ask(server, "POST", "/search?row=0", b"", Sec_Fetch_Site=site)[0] == 403


def test_no_leave_is_given_to_other_pages_that_ask_for_it(server):
    status, headers, _ = ask(server, "OPTIONS", "/search", Origin="http://evil.example")
    assert status == 501 and not [name for name in headers if name.lower().startswith("access-control")]


def test_an_upload_over_the_limit_is_refused_before_it_is_read(server, monkeypatch):
    monkeypatch.setattr(request, "UPLOAD_BYTES", 1 << 16)
    status, found = search(server, bytes(1 << 18))
    assert status == 413 and "the picture is over 0 MiB" in found["error"]
    status, _, _ = ask(server, "POST", "/search", None, Content_Length=str(10**14))
    assert status == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 411), ({"Content_Length": "-5"}, 411), ({"Content_Length": "9" * 40}, 413),
     ({"Content_Length": "0", "Transfer_Encoding": "chunked"}, 411)],
)  # fmt: skip
def test_an_upload_must_tell_its_length(server, headers, status):
    assert ask(server, "POST", "/search", None, **headers)[0] == status


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "expected a picture, found an empty file"),
        (b"<script>alert(1)</script>", "no picture of a format that is read"),
        (b"P6 60000 60000 255\n" + bytes(64), "60000 x 60000 pixels, over max_megapixels"),
        (b"\xff\xd8\xff" + b"\xff\xda" * 999, "scans; refused"),
    ],
)
def test_uploads_that_are_no_pictures_or_bombs_are_refused_with_a_message(server, body, words):
    status, found = search(server, body)
    assert status == 400 and words in found["error"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/thumbnail/24", "expected rows 0..23, found 24"),
        ("/context/999999999999", "expected rows"),
        ("/pictures?count=0", "expected 1 to 200"),
        ("/pictures?camera=roof", "expected cameras among"),
        ("/pictures?since=noon", "expected a number or a time"),
        ("/pictures?" + "&".join("camera=x" for _ in range(3000)), "fields"),
    ],
)
def test_wrong_questions_are_told_of(server, path, words):
    status, _, content = ask(server, "GET", path)
    assert status == 400 and words in json.loads(content)["error"]
    assert search(server, row=99)[0] == 400 and search(server, row="x")[0] == 400


@pytest.mark.parametrize("path", ["/nothing", "/thumbnail/-1", "/thumbnail/../facts", "/../page.py", "/assets/page.js"])
def test_nothing_else_is_served(server, path):
    assert ask(server, "GET", path)[0] == 404 and ask(server, "POST", path, b"")[0] == 404


def test_no_upload_is_written(server, crops, tmp_path, monkeypatch):
    """A folder for temporary files stays empty, and the gallery as it is, while a large upload is searched for."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted((path, path.stat().st_mtime_ns) for path in server.page.gallery.folder.rglob("*"))
    assert search(server, picture_files(crops)[0].read_bytes() + bytes(1 << 21))[0] == 200
    assert not list(tmp_path.iterdir())
    assert before == sorted((path, path.stat().st_mtime_ns) for path in server.page.gallery.folder.rglob("*"))


def test_fifty_at_once_are_all_served(server, crops, monkeypatch):
    monkeypatch.setattr(request, "WAIT_SECONDS", 600)  # on a slow machine the last waits long
    files, outcomes = picture_files(crops), [None] * 50

    def one(number):
        status, found = search(server, files[number % 24].read_bytes(), count=1)
        outcomes[number] = (status, found["answers"][0]["row"] if status == 200 else None)

    threads = [threading.Thread(target=one, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=600)
    expected = [int(server.page.gallery.search(files[number % 24], k=1)["row"][0]) for number in range(50)]
    assert outcomes == [(200, row) for row in expected]


def test_who_waits_too_long_is_told_to_come_again(server, monkeypatch):
    monkeypatch.setattr(request, "WAIT_SECONDS", 0.05)
    with server.turn:
        status, headers, content = ask(server, "POST", "/search?row=0", b"")
    assert status == 503 and headers["Retry-After"] == "2" and "others are before you" in json.loads(content)["error"]
    assert search(server, row=0)[0] == 200


def test_idle_and_slow_connections_take_no_place_for_long(page, monkeypatch):
    """Two places, both taken by clients that say nothing: the third waits until their time is over, and is served."""
    monkeypatch.setattr(listening, "CONNECTIONS", 2)
    monkeypatch.setattr(request.Handler, "timeout", 0.3)
    with serving(page) as server:
        start = time.monotonic()
        silent = [socket.create_connection(server.server_address) for _ in range(2)]
        silent[1].sendall(b"POST /search HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 9\r\n\r\nab" %
                          server.server_address[1])  # fmt: skip
        assert search(server, row=0)[0] == 200
        assert 0.25 < time.monotonic() - start < 60
        for connection in silent:
            connection.close()


def test_a_client_that_goes_away_is_no_error(server, capfd):
    for _ in range(5):
        connection = socket.create_connection(server.server_address)
        connection.sendall(b"GET /facts HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.server_address[1])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    connection = socket.create_connection(server.server_address)
    connection.sendall(b"nonsense\r\n\r\n")
    assert b"Bad request syntax" in connection.recv(4096)
    connection.close()
    assert search(server, row=0)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_fault_of_the_server_loses_one_request(server, page, monkeypatch, capfd):
    monkeypatch.setattr(page, "facts", lambda: {}["nothing"])
    status, _, content = ask(server, "GET", "/facts")
    assert status == 500 and "its terminal says how" in json.loads(content)["error"]
    assert "KeyError" in capfd.readouterr().err
    monkeypatch.undo()
    assert ask(server, "GET", "/facts")[0] == 200


def test_a_port_that_is_taken_is_told_of(server, page):
    with pytest.raises(OSError, match=rf"port {server.server_address[1]}: Address already in use; take another: --p"):
        PageServer(page, port=server.server_address[1])
