"""The process that holds a served student: texts in on stdin, shares out on stdout. Run by student_process.py.

It ends when its stdin is closed, which is also when the server was killed. What libraries print goes to stderr.
"""

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from xpoll.core.errors import ModelError, UserError
from xpoll.pipeline.serving.frames import framed, read_frame


def _loaded(folder: Path, *, runtime: str, device: str | None) -> Any:
    from xpoll.student.heads.registry import head_in

    head = head_in(folder)
    if head.name == "spans":
        raise ModelError(
            f"{folder} finds spans, and what is served here gives a text labels", mend=f"xpoll predict {folder}"
        )
    model = head.load(folder, runtime=runtime, device=device)
    if model.reads_pairs:
        raise ModelError(f"{folder} labels pairs of texts, and a request has one text", mend=f"xpoll predict {folder}")
    return model


def main() -> int:
    """Loads the student, says its labels, then answers one batch of texts after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runtime", default="pytorch")
    parser.add_argument("--device")
    parsed = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server drains, and then closes the pipe
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        model = _loaded(parsed.folder, runtime=parsed.runtime, device=parsed.device)
    except UserError as error:
        answers.write(framed({"refused": str(error)}))
        return error.exit_code
    model.probabilities(["the first batch takes longer than those that follow"])
    thresholds = getattr(model, "thresholds", None)
    said = {"labels": model.labels, "longest": model.longest}
    answers.write(framed(said if thresholds is None else said | {"thresholds": thresholds.tolist()}))
    while True:
        try:
            texts = read_frame(sys.stdin.buffer)
        except EOFError:
            return 0
        try:
            answer = {"shares": model.probabilities(texts).tolist(), "tokens": model.num_tokens(texts)}
        except Exception as error:  # the texts of this batch have no answer; those of the next one may
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        try:
            answers.write(framed(answer))
        except BrokenPipeError:
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
