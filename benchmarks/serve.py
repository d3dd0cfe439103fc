"""The search page: how long it takes to start, to search by an uploaded picture, and to serve many at once, over HTTP.

    python -m benchmarks.serve --gallery gallery --pictures queries/ [--clients 50] [--json]

`make look` makes such a gallery of the demo, in .scratch/look, with queries beside it. The start is what there is
beyond loading the model; CPU times are those of the whole process, which says more where others work on the machine.
"""

import http.client
import threading
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks import measure
from benchmarks.measure import report, seconds
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.pictures import picture_files
from reidlib.serve.page import SearchPage
from reidlib.serve.server import PageServer


def search(server: PageServer, picture: bytes) -> None:
    connection = http.client.HTTPConnection(*server.server_address)
    connection.request("POST", "/search", picture, {"Content-Type": "application/octet-stream"})
    reply = connection.getresponse()
    assert reply.status == 200, reply.read()
    reply.read()
    connection.close()


def all_at_once(server: PageServer, pictures: list[bytes]) -> None:
    threads = [threading.Thread(target=search, args=(server, picture)) for picture in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = measure.options(__doc__, gallery=".scratch/look/gallery", pictures=".scratch/look/query", clients=50)
    options = parser.parse_args()
    pictures = [path.read_bytes() for path in picture_files(Path(options.pictures))]
    pictures = [pictures[number % len(pictures)] for number in range(2 * options.clients)]
    model, started = Gallery(options.gallery).model, []
    before = process_time()

    def start() -> None:
        started.append(PageServer(SearchPage(Gallery(options.gallery, model=model)), port=0))

    starting = seconds(start)
    starting_cpu, server = process_time() - before, started[0]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = process_time()
    taken = [seconds(lambda: search(server, picture)) for picture in pictures[: options.clients]]  # noqa: B023
    cpu = (process_time() - before) / options.clients
    together = seconds(lambda: all_at_once(server, pictures[options.clients :]))
    server.shutdown()
    report(
        {
            "benchmark": "serve", "gallery_rows": len(server.page.gallery), "start_seconds": starting,
            "start_cpu_seconds": starting_cpu, "first_seconds": taken[0], "median_seconds": float(np.median(taken)),
            "p95_seconds": float(np.quantile(taken, 0.95)), "cpu_seconds": cpu, "clients": options.clients,
            "clients_seconds": together,
        },
        as_json=options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
