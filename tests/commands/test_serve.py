"""`reidlib serve`: what it opens, prints, and refuses; a page that answers until Ctrl-C."""

import socket
import threading
import urllib.request

import pytest

from reidlib.commands.table import main
from reidlib.serve.server import PageServer


@pytest.fixture
def here(tmp_path, monkeypatch, model_file, crops):
    (tmp_path / "model.safetensors").symlink_to(model_file)
    monkeypatch.chdir(tmp_path)
    main(["index", str(crops)])
    return tmp_path


@pytest.mark.parametrize(("display", "opened"), [("", 0), (":0", 1)])
def test_it_serves_prints_the_address_and_opens_a_browser_on_a_display(here, monkeypatch, capsys, display, opened):
    def ended(_):
        raise KeyboardInterrupt

    addresses = []
    monkeypatch.setattr("webbrowser.open", addresses.append)
    monkeypatch.setattr(PageServer, "serve_forever", ended)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    main(["serve", "gallery", "--port", "0", "--open"])
    told = capsys.readouterr().out
    assert "gallery: 24 pictures; search them at http://127.0.0.1:" in told and len(addresses) == opened
    with pytest.raises(OSError, match="refused"):  # nothing listens any more
        urllib.request.urlopen(told.split(" at ")[1].split()[0])


def test_the_page_answers_while_it_serves(here, monkeypatch, capsys):
    answers = []

    def once(server):
        asking = threading.Thread(target=lambda: answers.append(urllib.request.urlopen(server.address).read()))
        asking.start()
        server.handle_request()
        asking.join()

    monkeypatch.setattr(PageServer, "serve_forever", once)
    main(["serve", "--port", "0"])
    assert b"Who is this?" in answers[0]


def test_what_is_wrong_is_said(here, monkeypatch, tmp_path):
    for arguments, words in (
        (["nowhere"], "expected a gallery, found no gallery.json; make one: reidlib index"),
        (["gallery", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["serve", *arguments])
        assert words in str(caught.value.code)
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "gallery", "--port", "65536"])
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SystemExit) as caught:
        main(["serve", "gallery", "--port", str(other.getsockname()[1])])
    assert "Address already in use; take another: --port" in str(caught.value.code)
