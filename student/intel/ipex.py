"""Has a student trained by IPEX, in an environment of its own.

IPEX is pinned to torch 2.8, so it cannot share an environment with a current vLLM. The contract is a
folder: token ids and targets in, weights out; student/intel/ipex_step.py says what its files hold.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.progress import Progress, say
from xpoll.student.dataset import PATIENCE, Rows
from xpoll.student.intel.interpreter import interpreter
from xpoll.student.recipe import Recipe
from xpoll.student.training.encoder import Encoder
from xpoll.student.training_record import FineTuning

STEP = "xpoll.student.intel.ipex_step"


def chosen_backend(config: StudentConfig, recipe: Recipe) -> Literal["native", "ipex"]:
    """What trains; `auto` is native: IPEX ended at 2.8 in March 2026, and its optimisations are in PyTorch itself.

    Raises:
        ConfigError: ipex is asked for and its environment is not there, or it cannot do what is asked.
    """
    if config.backend != "ipex":
        return "native"
    python = interpreter(config.ipex_python)
    if not python.exists():
        raise ConfigError(
            f"student.backend is ipex, and {python} is not there",
            mend="make ipex, or name the environment's Python in student.ipex_python, or --set student.backend=native",
        )
    if config.devices != 1:
        raise ConfigError("student.backend is ipex, which trains on one device here", mend="--set student.devices=1")
    if recipe.contrast or recipe.mixup:
        raise ConfigError(
            f"student.backend is ipex, and student.recipe = {config.recipe!r} has contrast or mixup, "
            "which only native training has",
            mend="--set student.recipe=robust, or --set student.backend=native",
        )
    if config.trainer:
        raise ConfigError(
            "student.backend is ipex, whose loop is no transformers.Trainer, and [student.trainer] is given",
            mend="leave [student.trainer] out, or --set student.backend=native",
        )
    return "ipex"


def fine_tune_with_ipex(
    encoder: Encoder, rows: Rows, held_out: Rows | None, *, config: StudentConfig, seed: int, scratch: Path
) -> FineTuning:
    """What `fine_tune` does, in the environment of `student.ipex_python`; it begins anew after a kill.

    Args:
        encoder: Its weights are replaced by the trained ones.
        rows: What to train on.
        held_out: What early stopping looks at.
        config: The [student] section.
        seed: Of the order of rows, of dropout and of the head.
        scratch: Folder for the files of the contract.

    Raises:
        ModelError: the step failed, or training diverged.
    """
    from safetensors.torch import load_file

    folder = scratch / "ipex"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write_task(folder, encoder, config, seed)
    _write_rows(folder, encoder.tokenizer, [(rows, False), *([(held_out, True)] if held_out else [])])
    _run(str(interpreter(config.ipex_python)), folder)
    done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    if done["final_loss"] is None:
        raise ModelError("training diverged: the loss is no number any more", mend="lower student.learning_rate")
    encoder.model.load_state_dict(load_file(folder / "model" / "model.safetensors"))
    return FineTuning(**done, resumed_at=0)


def _write_task(folder: Path, encoder: Encoder, config: StudentConfig, seed: int) -> None:
    wanted = config.model_dump(include={"learning_rate", "batch_size", "frozen", "precision", "epochs", "min_steps"})
    # With its untrained head, whose first weights would differ between versions of torch.
    encoder.model.save_pretrained(folder / "encoder")
    task = wanted | {"encoder": str(folder / "encoder"), "seed": seed, "patience": PATIENCE}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")


def _write_rows(folder: Path, tokenizer: Any, parts: Sequence[tuple[Rows, bool]]) -> None:
    """Token ids rather than texts: a tokenizer that transformers 5 has saved cannot be read by transformers 4."""
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for rows, held_out in parts:
            encoded = tokenizer(list(rows.texts), truncation=True)["input_ids"]
            for ids, target in zip(encoded, rows.targets, strict=True):
                row = {"ids": ids, "target": list(target), "held_out": held_out, "pad": tokenizer.pad_token_id}
                file.write(json.dumps(row) + "\n")


def _run(python: str, folder: Path) -> None:
    """Runs the step and shows how far it is.

    Raises:
        ModelError: it failed; the last line that it wrote says why.
    """
    log = folder / "ipex.log"
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [python, "-I", "-m", STEP, str(folder)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert child.stdout is not None
        try:
            _follow(child.stdout)
            code = child.wait()
        finally:
            child.kill()
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [f"exit code {code}"]
        raise ModelError(f"the IPEX step failed: {lines[-1]}", mend="make ipex, or --set student.backend=native")


def _follow(lines: Any) -> None:
    progress: Progress | None = None
    try:
        for line in lines:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if "note" in said:
                say(said["note"])
                continue
            if progress is None:
                progress = Progress("training student with IPEX", total=said["steps"], unit="steps").__enter__()
            progress.add(said["step"] - progress.done, note=f"loss {said['loss']:.3f}")
    finally:
        if progress is not None:
            progress.__exit__(None, None, None)
