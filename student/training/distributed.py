"""Trains one student on several devices: torchrun starts a process each, and transformers.Trainer joins them.

Also what each of these processes runs: `python -m xpoll.student.training.distributed FOLDER`. The contract is a folder:
task.json (settings), rows.json and encoder/ in; model/ and done.json out, from the first process.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.files import read_json, write_json
from xpoll.student.dataset import Rows
from xpoll.student.heads.registry import HEADS
from xpoll.student.recipe import Recipe
from xpoll.student.training.encoder import Encoder, quiet
from xpoll.student.training.fine_tune import Settings, fine_tune
from xpoll.student.training_record import FineTuning


def num_devices(config: StudentConfig) -> int:
    """How many devices to train on.

    Raises:
        ConfigError: more are asked for than there are.
    """
    import torch

    there = torch.accelerator.device_count() if torch.accelerator.is_available() else None
    if there is None:
        return config.devices or 1  # processes on a CPU share its cores
    if config.devices > there:
        raise ConfigError(
            f"student.devices is {config.devices}, and there are {there}", mend=f"--set student.devices={there}"
        )
    return config.devices or there


def fine_tune_on_devices(
    encoder: Encoder, rows: Rows, held_out: Rows | None, settings: Settings, *, devices: int
) -> FineTuning:
    """What `fine_tune` does, on `devices` devices; the batch size counts for each.

    Raises:
        ModelError: a process failed, or training diverged.
    """
    from safetensors.torch import load_file

    folder = settings.checkpoints / "distributed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with quiet():
        encoder.model.save_pretrained(folder / "encoder")
        encoder.tokenizer.save_pretrained(folder / "encoder")
    task = {
        "student": settings.config.model_dump(mode="json"),
        "recipe": settings.recipe.model_dump(mode="json"),
        "seed": settings.seed,
        "head": settings.head,
        "checkpoints": str(settings.checkpoints),
        "logs": str(settings.logs) if settings.logs else None,
    }
    write_json(folder / "task.json", task)
    write_json(folder / "rows.json", {"rows": rows, "held_out": held_out})
    _start(folder, devices)
    done: dict[str, Any] = read_json(folder / "done.json")
    if "error" in done:
        raise ModelError(done["error"])
    encoder.model.load_state_dict(load_file(folder / "model" / "model.safetensors"))
    shutil.rmtree(folder)
    return FineTuning(**done)


def _start(folder: Path, devices: int) -> None:
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    log = folder / "torchrun.log"
    with log.open("wb") as printed:
        code = subprocess.run(
            [*command, "-m", "xpoll.student.training.distributed", str(folder)],
            env=os.environ | {"PYTHONSAFEPATH": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"},
            stdout=printed,
            stderr=printed,
        ).returncode
    if code or not (folder / "done.json").exists():
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = next((line for line in reversed(lines) if "Error" in line), f"exit code {code}")
        raise ModelError(f"training on {devices} devices failed: {reason}", mend="--set student.devices=1")


def main(folder: Path) -> None:
    """One of the processes."""
    import transformers

    task, texts = read_json(folder / "task.json"), read_json(folder / "rows.json")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "encoder", trust_remote_code=False)
    architecture = HEADS[task["head"]].form.architecture
    model = getattr(transformers, f"AutoModelFor{architecture}").from_pretrained(
        folder / "encoder", trust_remote_code=False, use_safetensors=True
    )
    held_out = Rows(*texts["held_out"]) if texts["held_out"] else None
    first = os.environ.get("RANK", "0") == "0"
    settings = Settings(
        StudentConfig.model_validate(task["student"]),
        Recipe.model_validate(task["recipe"]),
        task["seed"],
        Path(task["checkpoints"]),
        Path(task["logs"]) if task["logs"] else None,
        task["head"],
    )
    try:
        rows = Rows(*texts["rows"])
        done: dict[str, Any] = fine_tune(Encoder(tokenizer, model), rows, held_out, settings)._asdict()
    except ModelError as error:
        done = {"error": str(error)}
    if first:
        if "error" not in done:
            model.save_pretrained(folder / "model")
        (folder / "done.json").write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
