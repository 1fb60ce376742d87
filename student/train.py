"""Distils voted labels into a student.

Reads the records of labels.parquet. Writes one folder, whole or not at all: the model and its
tokenizer, which `transformers.pipeline("text-classification", model=folder)` loads with the task's
label names, calibration.json and training.json. The pipeline cuts long texts when called with
`truncation=True`. With several seeds, `seeds/SEED/` holds the others in the same form.

While it trains, `.student.training/` beside it holds checkpoints and the seeds that are done; the same
call goes on from them.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.config import StudentConfig
from xpoll.core.environment import package_version
from xpoll.core.files import read_json, write_json
from xpoll.core.progress import say
from xpoll.core.records import Consensus
from xpoll.core.statistics import mean_and_spread
from xpoll.student import calibration
from xpoll.student.abstentions import check_abstentions, with_abstentions
from xpoll.student.dataset import label_counts, targets, training_rows
from xpoll.student.ensemble import check_ensemble, taught_by_ensemble
from xpoll.student.folder import MARKER, SEEDS, check_place, replacing_folder
from xpoll.student.held_out import split
from xpoll.student.intel.ipex import chosen_backend
from xpoll.student.label_noise import check_curve, check_reasons, curve_of, refined
from xpoll.student.self_training import with_own_labels
from xpoll.student.training.checkpoints import open_checkpoints, remove_checkpoints
from xpoll.student.training.encoder import load_for_training, quiet
from xpoll.student.training_task import TrainingTask, fine_tuned


def train_student(
    consensus: Sequence[Consensus],
    labels: Sequence[str],
    *,
    config: StudentConfig,
    seed: int,
    output: Path,
    reasons: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Fine-tunes the config's encoder on the decided train rows and saves it to `output`.

    Args:
        consensus: Voted documents; gold rows are not trained on, abstentions as `student.abstained_weight` says.
        labels: The task's labels, in the order of the distributions and of the student's outputs.
        config: The [student] section.
        seed: Seed of the head, the order of the rows and dropout; further students count up from it.
        output: Folder to write; a student that is already there is replaced.
        reasons: What the panel stated for its votes on a document, by its id; `student.refine = "cotrain"` reads them.

    Returns:
        What training.json says: settings, numbers of rows, time and losses.

    Raises:
        InputError: there is nothing to learn from.
        ConfigError: the config does not go with the rows or the encoder.
        ModelError: the encoder cannot be loaded, or training diverged.
        RunFolderError: the folder cannot be written.
    """
    chosen = training_rows(consensus, labels)
    check_place(output)
    for label, count in label_counts(chosen.rows, labels).items():
        if not count:
            say(f"no text was voted {label!r}; the student will not answer so")
    backend, why_backend = chosen_backend(config)
    parts = split(chosen.rows, share=config.held_out, seed=seed)
    voted = targets(chosen.rows, labels, soft=config.soft_labels)
    rows = [[row.text, *target] for row, target in zip(chosen.rows, voted, strict=True)]
    votes = np.array(voted)
    stated = [(reasons or {}).get(row.document_id, ()) for row in chosen.rows]
    task = TrainingTask(chosen, labels, votes, votes, stated, parts, None, None, 0, config, backend)
    check_curve(task)
    check_reasons(task)
    check_ensemble(config)
    check_abstentions(config)
    unvoted = [
        [row.text, *row.distribution] for row in chosen.abstained if config.self_training or config.abstained_weight
    ]
    scratch = open_checkpoints(output, _deciding(config, labels, seed), [*rows, *unvoted, *stated])
    try:
        task = with_abstentions(refined(task, seed, scratch))
        task = with_own_labels(task, seed, scratch)
        task = taught_by_ensemble(task, seed, scratch)
        records = [_train_seed(task, seed + number, scratch, output) for number in range(config.seeds)]
        curve = curve_of(task, records[0], seed, scratch)
        with replacing_folder(output) as folder:
            _move(scratch / str(seed) / "student", folder)
            for number in range(1, config.seeds):
                _move(scratch / str(seed + number) / "student", folder / SEEDS / str(seed + number))
            training = records[0] | _seeds(records) | curve | {"backend": backend, "backend_reason": why_backend}
            write_json(folder / MARKER, training)
    except Exception:
        remove_checkpoints(scratch)
        raise
    remove_checkpoints(scratch)
    return training


def _train_seed(task: TrainingTask, seed: int, scratch: Path, output: Path) -> dict[str, Any]:
    """One student, written whole to scratch/SEED/student, unless an earlier call has written it already."""
    place = scratch / str(seed) / "student"
    if (place / MARKER).exists():
        record: dict[str, Any] = read_json(place / MARKER)
        return record
    encoder = load_for_training(task.config, task.labels, seed=seed)
    from xpoll.student.inference.logits import logits

    held_out = task.rows(task.parts.held_out, task.votes) if task.parts.held_out else None
    logs = output.with_name(f"{output.name}-logs") / str(seed) if task.config.tensorboard else None
    rows = task.trained_on()
    done = fine_tuned(task, encoder, rows, held_out, seed, scratch / str(seed), logs)
    training = _training_record(task, seed) | {
        "epochs": done.epochs,
        "precision": done.precision,
        "device": done.device,
        "pruned": task.num_pruned,
        "self_trained": task.num_further if task.config.self_training else 0,
        "abstained_trained": task.num_further if task.config.abstained_weight else 0,
        "wall_s": round(done.wall_s, 3),
        "resumed_at_step": done.resumed_at,
        "rows_per_s": round(len(rows.texts) * done.epochs / done.wall_s, 1),
        "final_loss": done.final_loss,
        "held_out_loss": done.held_out_loss,
        "held_out_accuracy": None,
        "temperature": 1.0,
    }
    with replacing_folder(place) as folder:
        if held_out:
            encoder.model.eval()
            found = logits(encoder, held_out.texts)
            training |= calibration.write(folder, found, task.votes[task.parts.held_out])
        elif task.unseen is not None:
            training |= calibration.write(folder, np.log(task.unseen), task.votes)
        with quiet():
            encoder.model.save_pretrained(folder)
            encoder.tokenizer.save_pretrained(folder)
        write_json(folder / MARKER, training)
        for file in folder.iterdir():  # safetensors makes its file readable to its owner alone
            shutil.copymode(folder / MARKER, file)
    for checkpoint in (scratch / str(seed)).glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
    return training


def _deciding(config: StudentConfig, labels: Sequence[str], seed: int) -> dict[str, Any]:
    """What else decides the result of a training; one that was killed goes on only with the same."""
    versions = {name: package_version(name) for name in ("torch", "transformers")}
    return {"student": config.model_dump(mode="json"), "labels": list(labels), "seed": seed, "versions": versions}


def _training_record(task: TrainingTask, seed: int) -> dict[str, Any]:
    chosen, config = task.chosen, task.config
    return {
        "encoder": config.encoder,
        "rows": len(chosen.rows),
        "held_out_rows": len(task.parts.held_out),
        "abstained": len(chosen.abstained),
        "abstained_weight": config.abstained_weight,
        "self_training": config.self_training,
        "label_counts": label_counts(chosen.rows, task.labels),
        "soft_labels": config.soft_labels,
        "refine": config.refine,
        "judges": config.judges,
        "average": config.average,
        "ensemble": config.ensemble,
        "variants": config.variants,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "max_length": config.max_length,
        "seed": seed,
    }


def _seeds(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(records) < 2:
        return {}
    accuracy = [record["held_out_accuracy"] for record in records if record["held_out_accuracy"] is not None]
    mean, spread = mean_and_spread(accuracy) if accuracy else (None, None)
    return {
        "seeds": [{name: record[name] for name in ("seed", "held_out_accuracy", "final_loss")} for record in records],
        "held_out_accuracy_mean": mean,
        "held_out_accuracy_sd": spread,
    }


def _move(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        file.replace(target / file.name)
