"""Distils voted labels into a student.

Reads the records of labels.parquet. Writes one folder, whole or not at all: the model and its
tokenizer, which `transformers.pipeline("text-classification", model=folder)` loads with the task's
label names, and training.json. The pipeline cuts long texts when called with `truncation=True`.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.config import Student
from core.files import write_json
from core.records import Consensus
from student.dataset import TrainingRows, label_counts, targets, training_rows
from student.encoder import load_for_training, quiet
from student.folder import MARKER, check_place, replacing_folder


def train_student(
    consensus: Sequence[Consensus], labels: Sequence[str], *, config: Student, seed: int, output: Path
) -> dict[str, Any]:
    """Fine-tunes the config's encoder on the decided train rows and saves it to `output`.

    Args:
        consensus: Voted documents; gold rows and abstentions are not trained on.
        labels: The task's labels, in the order of the distributions and of the student's outputs.
        config: The [student] section.
        seed: Seed of the head, the order of the rows and dropout.
        output: Folder to write; a student that is already there is replaced.

    Returns:
        What training.json says: settings, numbers of rows, time and final loss.

    Raises:
        InputError: there is nothing to learn from.
        ModelError: the encoder cannot be loaded, or training diverged.
        RunFolderError: the folder cannot be written.
    """
    chosen = training_rows(consensus, labels)
    check_place(output)
    encoder = load_for_training(config, labels, seed=seed)
    # Behind the checks above, because it imports torch and that takes seconds.
    from student.fine_tune import fine_tune, num_epochs

    with replacing_folder(output) as folder:
        done = fine_tune(
            encoder,
            [row.text for row in chosen.rows],
            targets(chosen.rows, labels, soft=config.soft_labels),
            config=config,
            seed=seed,
            scratch=folder,
        )
        epochs = num_epochs(config, len(chosen.rows))
        training = _training_record(chosen, labels, config, seed) | {
            "epochs": epochs,
            "precision": done.precision,
            "device": done.device,
            "wall_s": round(done.wall_s, 3),
            "rows_per_s": round(len(chosen.rows) * epochs / done.wall_s, 1),
            "final_loss": done.final_loss,
        }
        with quiet():
            encoder.model.save_pretrained(folder)
            encoder.tokenizer.save_pretrained(folder)
        write_json(folder / MARKER, training)
        for file in folder.iterdir():  # safetensors makes its file readable to its owner alone
            shutil.copymode(folder / MARKER, file)
    return training


def _training_record(chosen: TrainingRows, labels: Sequence[str], config: Student, seed: int) -> dict[str, Any]:
    return {
        "encoder": config.encoder,
        "rows": len(chosen.rows),
        "abstained": chosen.abstained,
        "label_counts": label_counts(chosen.rows, labels),
        "soft_labels": config.soft_labels,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "max_length": config.max_length,
        "seed": seed,
    }
