"""Fine-tunes a language model on prompts and completions.

Writes one folder, whole or not at all: the model with its LoRA weights merged, its tokenizer with the chat template
that the prompts were written by, `adapter/` (the LoRA weights alone) and training.json. The folder is a model for vLLM
and Transformers. With several seeds, `seeds/SEED/` holds the LoRA weights of the others.

While it trains, `.student.training/` beside it holds checkpoints and the seeds that are done; the same call resumes
from them.
"""

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.student import StudentConfig
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.files import read_json, write_json
from xpoll.core.machine.environment import package_version
from xpoll.core.progress import say
from xpoll.student.causal_lm.examples import TrainingExample, of_split
from xpoll.student.causal_lm.folder import ADAPTER
from xpoll.student.causal_lm.recipe import with_recipe
from xpoll.student.causal_lm.record import CausalTraining, LossPoint
from xpoll.student.causal_lm.tokens import Encoded, encode
from xpoll.student.folder import MARKER, SEEDS, check_place, replacing_folder
from xpoll.student.training.checkpoints import open_checkpoints, remove_checkpoints

PACKAGES = ("trl", "peft", "datasets")
"""What a causal-lm needs beside a classifier's packages."""


def check_causal(config: StudentConfig) -> StudentConfig:
    """The section with its recipe, after all checks that need neither rows nor a model.

    Raises:
        ConfigError: there is no such recipe, a table cannot be passed on, or a package is missing.
    """
    if config.devices != 1:
        raise ConfigError(f"student.devices is {config.devices}, and a causal-lm trains on one", mend="leave it out")
    whole = with_recipe(config)
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"student.kind = 'causal-lm' needs {', '.join(missing)}", mend=f"pip install {' '.join(PACKAGES)}"
        )
    from xpoll.student.causal_lm.training.arguments import check_tables

    check_tables(whole)
    return whole


class _Task(NamedTuple):
    """What every seed is trained on."""

    config: StudentConfig
    """With its recipe."""
    precision: str
    encoded: Encoded
    held_out: int
    left_out: int


def train_causal(
    examples: Sequence[TrainingExample], *, config: StudentConfig, seed: int, output: Path
) -> CausalTraining:
    """Fine-tunes the config's model on the train rows and saves it to `output`.

    Args:
        examples: All rows; those held out or with a problem are not trained on.
        config: The [student] section.
        seed: Seed of the LoRA weights, the order of the rows and dropout; further students count up from it.
        output: Folder to write; a student that is already there is replaced.

    Returns:
        What training.json says.

    Raises:
        InputError: no row leaves room for a completion.
        ConfigError: the config does not go with the model or the device.
        ModelError: the model cannot be loaded, or training diverged.
        RunFolderError: the folder cannot be written.
    """
    whole = check_causal(config)
    check_place(output)
    from xpoll.student.training.arguments import chosen_precision

    precision = chosen_precision(whole.precision)
    task = _task(examples, whole, precision)
    rows = [tokens.ids for tokens in task.encoded.tokens]
    scratch = open_checkpoints(output, _deciding(whole, seed), rows)
    try:
        each = [_train_seed(task, seed + number, scratch, output) for number in range(whole.seeds)]
        training = each[0]
        if len(each) > 1:
            training = training.model_copy(update={"seeds": tuple(one.seed for one in each)})
        with replacing_folder(output) as folder:
            _write(task.config, folder, scratch, seed)
            for number in range(1, whole.seeds):
                _copy_adapter(scratch, seed + number, folder / SEEDS / str(seed + number))
            write_json(folder / MARKER, training.as_json())
            for file in (path for path in folder.rglob("*") if path.is_file()):
                shutil.copymode(folder / MARKER, file)  # safetensors makes its file readable to its owner alone
    except Exception:
        remove_checkpoints(scratch)
        raise
    remove_checkpoints(scratch)
    return training


def _task(examples: Sequence[TrainingExample], config: StudentConfig, precision: str) -> _Task:
    from xpoll.student.causal_lm.training.model import load_tokenizer

    encoded = encode(load_tokenizer(config), of_split(examples, "train"), max_length=config.max_length)
    if encoded.left_out:
        say(f"{len(encoded.left_out)} rows are left out; the first: {encoded.left_out[0]}")
    if not encoded.rows:
        first = encoded.left_out[0]
        raise InputError(f"no row can be trained on; the first: {first}", mend="raise student.max_length")
    held_out = len(of_split(examples, "held_out"))
    problems = sum(example.problem is not None for example in examples)
    return _Task(config, precision, encoded, held_out, problems + len(encoded.left_out))


def _train_seed(task: _Task, seed: int, scratch: Path, output: Path) -> CausalTraining:
    """The LoRA weights of one seed, written to scratch/SEED/adapter, unless an earlier call has done so already."""
    place, done = scratch / str(seed), scratch / f"{seed}.json"
    if done.exists():
        return CausalTraining.model_validate(read_json(done))
    from xpoll.student.causal_lm.training.fine_tune import fine_tune_lora
    from xpoll.student.causal_lm.training.model import load_base

    config, rows = task.config, task.encoded.tokens
    logs = output.with_name(f"{output.name}-logs") / str(seed) if "report_to" in config.trainer else None
    tuned = fine_tune_lora(
        load_base(config, precision=task.precision),
        rows,
        config=config,
        precision=task.precision,
        seed=seed,
        checkpoints=place,
        adapter=place / ADAPTER,
        logs=logs,
    )
    settings = {"model", "recipe", "lora", "trainer", "learning_rate", "batch_size", "max_length"}
    training = CausalTraining(
        **config.model_dump(include=settings),
        seed=seed,
        rows=len(rows),
        held_out_rows=task.held_out,
        left_out=task.left_out,
        cut_rows=sum(tokens.cut for tokens in rows),
        learned_tokens=sum(tokens.learned for tokens in rows),
        sequences=tuned.sequences,
        parameters=tuned.parameters,
        trained_parameters=tuned.trained_parameters,
        epochs=tuned.epochs,
        steps=tuned.steps,
        precision=task.precision,
        device=tuned.device,
        wall_s=round(tuned.wall_s, 3),
        tokens_per_s=round(tuned.epochs * sum(len(tokens.ids) for tokens in rows) / tuned.wall_s, 1),
        resumed_at_step=tuned.resumed_at,
        final_loss=tuned.losses[-1].loss,
        losses=tuple(LossPoint(step=each.step, loss=round(each.loss, 5)) for each in tuned.losses),
    )
    write_json(done, training.as_json())
    for checkpoint in place.glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
    return training


def _write(config: StudentConfig, folder: Path, scratch: Path, seed: int) -> None:
    from xpoll.student.causal_lm.training.model import save_merged

    save_merged(config, scratch / str(seed) / ADAPTER, folder)
    _copy_adapter(scratch, seed, folder / ADAPTER)


def _copy_adapter(scratch: Path, seed: int, target: Path) -> None:
    """The LoRA weights without the card that PEFT writes beside them."""
    shutil.copytree(scratch / str(seed) / ADAPTER, target, ignore=shutil.ignore_patterns("README.md"))


def _deciding(config: StudentConfig, seed: int) -> dict[str, Any]:
    """What decides the result of a training beside its rows; one that was killed resumes only with the same."""
    return {
        "student": config.model_dump(mode="json"),
        "seed": seed,
        "versions": {name: package_version(name) for name in ("torch", "transformers", *PACKAGES)},
    }
