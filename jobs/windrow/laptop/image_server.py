"""Serve prepared test images as PNG over HTTP, for the demo's feed.

    /NAME/DIGEST/test/INDEX.png    the image; 404 for an unknown index, or if the data set has changed
    /NAME/DIGEST/test/INDEX.cut    the first half of the image's bytes: a truncated image
    /NAME/about.html               a page, not an image
    /health                        answers once the server is up

DIGEST is the start of the data set's digest, so that the image of a URL never changes.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windrow.data import manifest, shards
from windrow.errors import WindrowError

DIGEST_LENGTH = 12
_DATASET = rf"/(?P<name>[a-z][a-z0-9_]*)/(?P<digest>[0-9a-f]{{{DIGEST_LENGTH}}})"
_IMAGE = re.compile(_DATASET + r"/test/(?P<index>\d{1,9})\.(?P<form>png|cut)")
_PAGE = re.compile(r"/[a-z][a-z0-9_]*/about\.html")
_HTML = b"<!doctype html><title>Not an image</title><p>This page is here to be refused.</p>\n"


def image_path(name: str, digest: str, index: int, form: str = "png") -> str:
    """Return the path of test image `index` of the data set `name`."""
    return f"/{name}/{digest[:DIGEST_LENGTH]}/test/{index}.{form}"


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image, uint8 (height, width, channels) with 1 or 3 channels, as PNG."""
    target = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(target, "PNG")
    return target.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serves the data sets under `root`. A data set that was prepared again is read again."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object, root: Path) -> None:
        self.root = root
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if match := _IMAGE.fullmatch(path):
            body = self._image(match["name"], match["digest"], int(match["index"]))
            if body is not None:
                self._send(HTTPStatus.OK, "image/png", body if match["form"] == "png" else body[: len(body) // 2])
                return
        elif path == "/health":
            self._send(HTTPStatus.OK, "text/plain", b"ok\n")
            return
        elif _PAGE.fullmatch(path):
            self._send(HTTPStatus.OK, "text/html", _HTML)
            return
        self._send(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here\n")

    def do_HEAD(self) -> None:
        """Answer one request with the headers only."""
        self.do_GET()

    def _image(self, name: str, digest: str, index: int) -> bytes | None:
        folder = self.root / name / "dataset"
        try:
            changed = (folder / manifest.FILE).stat().st_mtime_ns
            found, images = _open(folder, changed)
        except (OSError, WindrowError):
            return None
        if not found.startswith(digest) or index >= len(images):
            return None
        return to_png(images[index])

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing: the predictions table shows a status for each URL."""


@lru_cache(maxsize=8)
def _open(folder: Path, changed: int) -> tuple[str, NDArray[np.uint8]]:
    """Return a data set's digest and memory-mapped test images; `changed` is only part of the cache's key."""
    return manifest.read(folder).digest, shards.load_split(folder, "test")[0]


class Server(ThreadingHTTPServer):
    """A server whose threads end with the process, and whose queue holds all connections of a scoring run."""

    daemon_threads = True
    request_queue_size = 128


def make_server(port: int, root: Path, host: str = "127.0.0.1") -> Server:
    """Return a server that is bound to the port, or to a free port for 0; the caller calls serve_forever()."""
    return Server((host, port), partial(Handler, root=root))


def main() -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, required=True, help="port; 0 takes a free one")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with NAME/dataset folders")
    options = parser.parse_args()
    with make_server(options.port, options.root, options.host) as server:
        print(f"serving {options.root} on http://{options.host}:{server.server_port}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
