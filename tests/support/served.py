"""`xpoll serve` in a process of its own, and a student that takes no training."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.support.toy import LABELS, make_encoder


def make_student(folder: Path) -> Path:
    """A student of LABELS whose weights are drawn: other texts get other distributions, and no label is meant."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    make_encoder(folder)
    torch.manual_seed(3)
    config = BertConfig.from_pretrained(
        folder, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)), initializer_range=0.5
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


class Reply(NamedTuple):
    """A response: its status, its body as JSON (or as text), and its headers."""

    status: int
    body: Any
    headers: dict[str, str]


class ServedProcess(NamedTuple):
    """A server: what it said when it was ready, and its process."""

    ready: dict[str, Any]
    process: "subprocess.Popen[str]"

    @property
    def base(self) -> str:
        return str(self.ready["address"]).removesuffix("/v1")

    def get(self, path: str) -> Reply:
        return asked(urllib.request.Request(f"{self.base}{path}"))

    def post(self, path: str, body: Any, *, content_type: str = "application/json", timeout_s: float = 120) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        return asked(urllib.request.Request(f"{self.base}{path}", data, headers), timeout_s)

    def workers(self) -> list[psutil.Process]:
        """The student's process, where there is one."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in below if any("student_worker" in word for word in each.cmdline())]


def asked(request: urllib.request.Request, timeout_s: float = 120) -> Reply:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            status, text, headers = reply.status, reply.read().decode(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        status, text, headers = error.code, error.read().decode(), dict(error.headers)
    try:
        return Reply(status, json.loads(text), headers)
    except ValueError:
        return Reply(status, text, headers)


@contextmanager
def served(*arguments: object, cwd: Path) -> Iterator[ServedProcess]:
    """A server for the duration of the block, on a free port of loopback."""
    command = [sys.executable, "-P", "-m", "xpoll", "serve", *map(str, arguments), "--json", "--port", "0"]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield ServedProcess(json.loads(line), process)
        finally:
            process.terminate()
            process.communicate(timeout=60)
