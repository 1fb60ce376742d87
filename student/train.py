"""Distils voted labels into a student.

Reads the records of labels.parquet. Writes one folder, whole or not at all: the model and its
tokenizer, which `transformers.pipeline("text-classification", model=folder)` loads with the task's
label names, calibration.json and training.json. The pipeline cuts long texts when called with
`truncation=True`. With several seeds, `seeds/SEED/` holds the others in the same form.

While it trains, `.student.training/` beside it holds checkpoints and the seeds that are done; the same
call goes on from them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from core.config import Student
from core.environment import package_version
from core.files import read_json, write_json
from core.records import Consensus
from core.statistics import mean_and_spread
from student import calibration, refine
from student.checkpoints import open_checkpoints, remove_checkpoints
from student.dataset import TrainingRows, label_counts, targets, training_rows
from student.encoder import load_for_training, quiet
from student.folder import MARKER, SEEDS, check_place, replacing_folder
from student.held_out import Split, split

if TYPE_CHECKING:
    from student.fine_tune import Rows


class _Task(NamedTuple):
    """What every seed is trained on."""

    chosen: TrainingRows
    labels: Sequence[str]
    targets: np.ndarray
    """(rows, labels) that training aims at."""
    votes: np.ndarray
    """(rows, labels) as voted."""
    parts: Split
    unseen: np.ndarray | None
    """(rows, labels) of students that did not see the row; None without `student.refine`."""
    config: Student

    def rows(self, numbers: Sequence[int], targets: np.ndarray) -> "Rows":
        from student.fine_tune import Rows

        return Rows([self.chosen.rows[i].text for i in numbers], targets[list(numbers)].tolist())


def train_student(
    consensus: Sequence[Consensus], labels: Sequence[str], *, config: Student, seed: int, output: Path
) -> dict[str, Any]:
    """Fine-tunes the config's encoder on the decided train rows and saves it to `output`.

    Args:
        consensus: Voted documents; gold rows and abstentions are not trained on.
        labels: The task's labels, in the order of the distributions and of the student's outputs.
        config: The [student] section.
        seed: Seed of the head, the order of the rows and dropout; further students count up from it.
        output: Folder to write; a student that is already there is replaced.

    Returns:
        What training.json says: settings, numbers of rows, time and losses.

    Raises:
        InputError: there is nothing to learn from.
        ModelError: the encoder cannot be loaded, or training diverged.
        RunFolderError: the folder cannot be written.
    """
    chosen = training_rows(consensus, labels)
    check_place(output)
    parts = split(chosen.rows, share=config.held_out, seed=seed)
    voted = targets(chosen.rows, labels, soft=config.soft_labels)
    rows = [[row.text, *target] for row, target in zip(chosen.rows, voted, strict=True)]
    votes = np.array(voted)
    task = _Task(chosen, labels, votes, votes, parts, None, config)
    scratch = open_checkpoints(output, _deciding(config, labels, seed), rows)
    try:
        task = _refined(task, seed, scratch)
        records = [_train_seed(task, seed + number, scratch, output) for number in range(config.seeds)]
        with replacing_folder(output) as folder:
            _move(scratch / str(seed) / "student", folder)
            for number in range(1, config.seeds):
                _move(scratch / str(seed + number) / "student", folder / SEEDS / str(seed + number))
            training = records[0] | _seeds(records)
            write_json(folder / MARKER, training)
    except Exception:
        remove_checkpoints(scratch)
        raise
    remove_checkpoints(scratch)
    return training


def _train_seed(task: _Task, seed: int, scratch: Path, output: Path) -> dict[str, Any]:
    """One student, written whole to scratch/SEED/student, unless an earlier call has written it already."""
    place = scratch / str(seed) / "student"
    if (place / MARKER).exists():
        record: dict[str, Any] = read_json(place / MARKER)
        return record
    encoder = load_for_training(task.config, task.labels, seed=seed)
    # Behind the checks above, because it imports torch and that takes seconds.
    from student.fine_tune import fine_tune
    from student.inference import logits

    trained_on = [i for i in task.parts.train if task.targets[i].any()]
    held_out = task.rows(task.parts.held_out, task.votes) if task.parts.held_out else None
    logs = output.with_name(f"{output.name}-logs") / str(seed) if task.config.tensorboard else None
    done = fine_tune(
        encoder,
        task.rows(trained_on, task.targets),
        held_out,
        config=task.config,
        seed=seed,
        checkpoints=scratch / str(seed),
        logs=logs,
    )
    training = _training_record(task, seed) | {
        "epochs": done.epochs,
        "precision": done.precision,
        "device": done.device,
        "pruned": len(task.parts.train) - len(trained_on),
        "wall_s": round(done.wall_s, 3),
        "resumed_at_step": done.resumed_at,
        "rows_per_s": round(len(trained_on) * done.epochs / done.wall_s, 1),
        "final_loss": done.final_loss,
        "held_out_loss": done.held_out_loss,
        "held_out_accuracy": None,
        "temperature": 1.0,
    }
    with replacing_folder(place) as folder:
        if held_out:
            encoder.model.eval()
            found = logits(encoder, held_out.texts, device=encoder.model.device)
            training |= calibration.write(folder, found, task.votes[task.parts.held_out])
        elif task.unseen is not None:
            training |= calibration.write(folder, np.log(task.unseen), task.votes)
        with quiet():
            encoder.model.save_pretrained(folder)
            encoder.tokenizer.save_pretrained(folder)
        write_json(folder / MARKER, training)
        for file in folder.iterdir():  # safetensors makes its file readable to its owner alone
            shutil.copymode(folder / MARKER, file)
    return training


def _refined(task: _Task, seed: int, scratch: Path) -> _Task:
    """The task with targets that students of other rows had a say in, as `student.refine` wants it."""
    if task.config.refine == "none":
        return task
    numbers = task.parts.train

    def predict(outside: Sequence[int], inside: Sequence[int]) -> np.ndarray:
        kept = scratch / f"unseen-{inside[0]}.json"
        if not kept.exists():
            aside = _aside(task, [numbers[i] for i in outside], [numbers[i] for i in inside], seed, scratch / kept.stem)
            write_json(kept, aside.tolist())
        return np.array(read_json(kept))

    unseen = refine.unseen_probabilities(len(numbers), len(task.labels), predict, folds=task.config.folds, seed=seed)
    better = task.targets.copy()
    if task.config.refine == "prune":
        better[numbers] = refine.pruned(task.targets[numbers], unseen)
    else:
        better[numbers] = refine.distilled(task.targets[numbers], unseen, trust=task.config.trust)
    whole = task.votes.copy()
    whole[numbers] = np.maximum(unseen, 1e-9)
    return task._replace(targets=better, unseen=whole)


def _aside(task: _Task, outside: Sequence[int], inside: Sequence[int], seed: int, checkpoints: Path) -> np.ndarray:
    """(inside, labels): what a student that is trained on `outside` makes of `inside`."""
    from student.fine_tune import fine_tune
    from student.inference import logits

    encoder = load_for_training(task.config, task.labels, seed=seed)
    fine_tune(encoder, task.rows(outside, task.targets), config=task.config, seed=seed, checkpoints=checkpoints)
    encoder.model.eval()
    texts = [task.chosen.rows[i].text for i in inside]
    return calibration.softmax(logits(encoder, texts, device=encoder.model.device))


def _deciding(config: Student, labels: Sequence[str], seed: int) -> dict[str, Any]:
    """What else decides the result of a training; one that was killed goes on only with the same."""
    versions = {name: package_version(name) for name in ("torch", "transformers")}
    return {"student": config.model_dump(mode="json"), "labels": list(labels), "seed": seed, "versions": versions}


def _training_record(task: _Task, seed: int) -> dict[str, Any]:
    chosen, config = task.chosen, task.config
    return {
        "encoder": config.encoder,
        "rows": len(chosen.rows),
        "held_out_rows": len(task.parts.held_out),
        "abstained": chosen.abstained,
        "label_counts": label_counts(chosen.rows, task.labels),
        "soft_labels": config.soft_labels,
        "refine": config.refine,
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
