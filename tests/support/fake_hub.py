"""A hub on loopback with one data set of given files: what huggingface_hub asks when files of it are read."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "some-one/texts"
REVISIONS = ("main", "v1", COMMIT)


class FakeHub(ThreadingHTTPServer):
    """Serves `files` as the data set NAME; `asked` has the method and path of each request."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Its address, as HF_ENDPOINT has it."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving_hub(files: Mapping[str, bytes]) -> Iterator[FakeHub]:
    """A hub that answers within the block."""
    with FakeHub(files) as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._answer(parse_qs(body) if not body.startswith("{") else json.loads(body))

    def _answer(self, body: Any = None) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        api = re.fullmatch(rf"/api/datasets/{NAME}(?:/(?P<what>revision|tree|paths-info)/(?P<rest>.*))?", path)
        file = re.fullmatch(rf"/datasets/{NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.*)", path)
        if file and file["file"] in self.server.files:
            return self._file(self.server.files[file["file"]])
        if api is None:
            return self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        revision, _, inside = (api["rest"] or "main").partition("/")
        if revision not in REVISIONS:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if api["what"] == "paths-info":
            return self._json([each for each in self._listed("", recursive=True) if each["path"] in body["paths"]])
        if api["what"] == "tree":
            recursive = "recursive=True" in self.path or "recursive=true" in self.path
            return self._json(self._listed(inside, recursive=recursive))
        return self._json({"id": NAME, "sha": COMMIT, "siblings": []})

    def _listed(self, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        folders = {str(up) for name in self.server.files for up in PurePosixPath(name).parents if str(up) != "."}
        every = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        every += [
            {"type": "file", "path": name, "oid": "1" * 40, "size": len(data)}
            for name, data in self.server.files.items()
        ]
        inside = [each for each in every if not folder or each["path"].startswith(f"{folder}/")]
        return [each for each in inside if recursive or str(PurePosixPath(each["path"]).parent) == (folder or ".")]

    def _file(self, data: bytes) -> None:
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        chosen = data[int(part[1]) : int(part[2]) + 1] if part else data
        headers = {"ETag": '"1"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if part:
            headers["Content-Range"] = f"bytes {part[1]}-{part[2]}/{len(data)}"
        self._send(chosen, 206 if part else 200, headers, "application/octet-stream")

    def _json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, headers or {}, "application/json")

    def _send(self, data: bytes, status: int, headers: Mapping[str, str], kind: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""
