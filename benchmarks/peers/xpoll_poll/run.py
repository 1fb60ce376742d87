"""Runs `xpoll poll` on the job, and passes the answers of its journal on as they are on disk."""

import runpy
import sys
import threading
from pathlib import Path

from peer_job import AnswerLog, PeerJob, read_job

from xpoll.core.records import Completion, from_table
from xpoll.engine.journal.answers import take_inventory, whole_batches

EVERY_S = 0.2


def pass_on(job: PeerJob, ended: threading.Event) -> None:
    """Answers of the journal that answers.jsonl does not have yet, until the poll has ended and all are read."""
    answers, folder = AnswerLog(job), job.folder / "run" / "completions"
    written = {key_in(line) for line in (job.folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()}
    seen = 0
    while True:
        last = ended.wait(EVERY_S)
        size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
        if size != seen:
            seen = size
            for each in completions_in(folder):
                key = (each.document_id, each.sample)
                if each.text is not None and key not in written:
                    written.add(key)
                    answers.write(each.document_id, each.sample, each.text)
        if last:
            return


def key_in(line: str) -> tuple[str, int]:
    """Row and sample of a line of answers.jsonl."""
    import json

    answer = json.loads(line)
    return answer["id"], answer["sample"]


def completions_in(folder: Path) -> list[Completion]:
    """Every whole answer of a run."""
    import pyarrow as pa

    batches = list(whole_batches(take_inventory(folder)))
    return from_table(pa.Table.from_batches(batches), Completion) if batches else []


def xpoll(*arguments: str) -> int:
    """Runs xpoll's command line in this process; its exit code."""
    sys.argv = ["xpoll", *arguments]
    try:
        runpy.run_module("xpoll", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main() -> int:
    """The exit code of the poll, and of the vote where labels are what counts."""
    job = read_job()
    settings = [part for setting in job.options.get("set", []) for part in ("--set", setting)]
    file = str(job.folder / "job.toml")
    if job.options.get("vote"):
        code = xpoll("poll", file, "--quiet", *settings) or xpoll("vote", file, "--quiet", *settings)
        return code or write_labels(job)
    ended = threading.Event()
    reader = threading.Thread(target=pass_on, args=(job, ended))
    reader.start()
    try:
        return xpoll("poll", file, "--quiet", *settings)
    finally:
        ended.set()
        reader.join()


def write_labels(job: PeerJob) -> int:
    """Voted labels as answers; 0."""
    import pyarrow.parquet as pq

    answers = AnswerLog(job)
    for row in pq.read_table(job.folder / "run" / "labels.parquet", columns=["document_id", "label"]).to_pylist():
        answers.write(row["document_id"], 0, row["label"] or "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
