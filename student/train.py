"""Trains a student on voted labels.

Reads the records of labels.parquet. Writes one folder, whole or not at all: the model and its
tokenizer, which `transformers.pipeline("text-classification", model=folder)` loads with the task's
label names, calibration.json and training.json. The pipeline cuts long texts when called with
`truncation=True`. With several seeds, `seeds/SEED/` holds the others in the same form.

While it trains, `.student.training/` beside it holds checkpoints and the seeds that are done; the same
call resumes from them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.machine.environment import package_version
from xpoll.core.progress import say
from xpoll.core.statistics import mean_and_spread
from xpoll.student import calibration
from xpoll.student.dataset import Rows, split
from xpoll.student.ensemble import taught_by_ensemble
from xpoll.student.folder import MARKER, SEEDS, check_place, read_training, replacing_folder, write_training
from xpoll.student.heads.head import Head
from xpoll.student.heads.label import LABEL
from xpoll.student.intel.ipex import chosen_backend
from xpoll.student.label_noise import without_label_noise
from xpoll.student.learning_curve import check_curve, with_curve
from xpoll.student.recipe import Recipe, load_recipe
from xpoll.student.training.checkpoints import open_checkpoints, remove_checkpoints
from xpoll.student.training.encoder import Encoder, load_for_training, quiet
from xpoll.student.training_record import FineTuning, SeedResult, Training
from xpoll.student.training_task import TrainingTask, fine_tuned


def check_student(config: StudentConfig, recipe: Recipe | None = None, head: Head = LABEL) -> Recipe:
    """The recipe of the section, after all checks that need neither texts nor a model, nor the machine that trains.

    Raises:
        ConfigError: there is no such recipe, it is not for such a head, or [student.trainer] cannot be passed on.
    """
    recipe = recipe or load_recipe(config.recipe)
    if not head.has_distribution:
        _check_plain(config, recipe)
    if config.trainer:
        from xpoll.student.training.arguments import check_trainer

        check_trainer(config)
    return recipe


def _check_plain(config: StudentConfig, recipe: Recipe) -> None:
    """What is made for one label per text alone."""
    of_one_label = {
        "student.recipe": recipe.model_copy(update={"about": "", "dropout": None}) != Recipe(),
        "student.learning_curve": bool(config.learning_curve),
        "student.backend": config.backend == "ipex",
    }
    if wrong := [key for key, is_set in of_one_label.items() if is_set]:
        raise ConfigError(
            f"{', '.join(wrong)}: what is set there is for students of one label per text alone",
            mend="leave it out; such a student is trained plainly",
        )


def train_student(
    consensus: Sequence[Any],
    labels: Sequence[str],
    *,
    config: StudentConfig,
    seed: int,
    output: Path,
    recipe: Recipe | None = None,
    head: Head = LABEL,
) -> Training:
    """Fine-tunes the config's encoder on the decided train rows and saves it to `output`.

    Args:
        consensus: Voted documents; gold rows and abstentions are not trained on.
        labels: The task's labels, in the order of the distributions and of the student's outputs.
        config: The [student] section.
        seed: Seed of the head, the order of the rows and dropout; further students count up from it.
        output: Folder to write; a student that is already there is replaced.
        recipe: In place of the one that the config names.
        head: What kind of student it is.

    Returns:
        What training.json says.

    Raises:
        InputError: there is nothing to learn from.
        ConfigError: the config does not go with the rows or the encoder.
        ModelError: the encoder cannot be loaded, or training diverged.
        RunFolderError: the folder cannot be written.
    """
    recipe = check_student(config, recipe, head)
    backend = chosen_backend(config, recipe)
    chosen = head.training_rows(consensus, labels)
    check_place(output)
    if chosen.measured_on:
        say(f"{len(chosen.measured_on)} texts are gold rows, too, and are not trained on")
    for label, count in head.label_counts(chosen.rows, labels).items():
        if not count:
            say(f"no text was voted {label!r}; the student will not answer so")
    parts = split(chosen.rows, share=config.held_out, seed=seed, stratum=head.stratum)
    votes = head.targets(chosen.rows, labels, soft=config.soft_labels)
    task = TrainingTask(chosen, labels, votes, votes, parts, None, None, 0, config, recipe, backend, head)
    check_curve(task)
    rows = [[row.text, *target] for row, target in zip(chosen.rows, votes.tolist(), strict=True)]
    scratch = open_checkpoints(output, _deciding(task, seed), rows)
    try:
        task = without_label_noise(task, seed, scratch)
        task = taught_by_ensemble(task, seed, scratch)
        each = [_train_seed(task, seed + number, scratch, output) for number in range(config.seeds)]
        training = with_curve(_with_seeds(each), task, scratch)
        with replacing_folder(output) as folder:
            _move(scratch / str(seed) / "student", folder)
            for number in range(1, config.seeds):
                _move(scratch / str(seed + number) / "student", folder / SEEDS / str(seed + number))
            write_training(folder, training)
    except Exception:
        remove_checkpoints(scratch)
        raise
    remove_checkpoints(scratch)
    return training


def _train_seed(task: TrainingTask, seed: int, scratch: Path, output: Path) -> Training:
    """One student, written whole to scratch/SEED/student, unless an earlier call has written it already."""
    place = scratch / str(seed) / "student"
    if (place / MARKER).exists():
        return read_training(place)
    dropout, form = task.recipe.dropout, task.head.form
    encoder = load_for_training(task.config, task.labels, seed=seed, dropout=dropout, form=form, pairs=task.has_pairs)
    held_out = task.rows(task.parts.held_out, task.votes) if task.parts.held_out else None
    logs = output.with_name(f"{output.name}-logs") / str(seed) if "report_to" in task.config.trainer else None
    rows = task.trained_on()
    done = fine_tuned(task, encoder, rows, held_out, seed=seed, scratch=scratch / str(seed), logs=logs)
    with replacing_folder(place) as folder:
        training = _training(task, done, seed, len(rows.texts), _calibrated(task, encoder, held_out, folder))
        with quiet():
            encoder.model.save_pretrained(folder)
            encoder.tokenizer.save_pretrained(folder)
        write_training(folder, training)
        for file in folder.iterdir():  # safetensors makes its file readable to its owner alone
            shutil.copymode(folder / MARKER, file)
    for checkpoint in (scratch / str(seed)).glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
    return training


def _calibrated(
    task: TrainingTask, encoder: Encoder, held_out: Rows | None, folder: Path
) -> calibration.FittedTemperature:
    """The temperature by held-out votes, or else by students that had not seen the votes; 1 without either."""
    if held_out:
        encoder.model.eval()
        return task.head.calibrated(encoder, held_out.texts, task.votes[task.parts.held_out], folder)
    if task.unseen is not None:
        return calibration.write(folder, np.log(task.unseen), task.votes)
    return calibration.FittedTemperature(1.0, None)


def _deciding(task: TrainingTask, seed: int) -> dict[str, Any]:
    """What decides the result of a training beside its rows; one that was killed resumes only with the same."""
    return {
        "student": task.config.model_dump(mode="json"),
        "recipe": task.recipe.model_dump(mode="json"),
        "labels": list(task.labels),
        "head": task.head.name,
        "seed": seed,
        "versions": {name: package_version(name) for name in ("torch", "transformers")},
    }


def _training(
    task: TrainingTask, done: FineTuning, seed: int, num_texts: int, calibrated: calibration.FittedTemperature
) -> Training:
    ensemble = task.recipe.ensemble
    settings = {"encoder", "recipe", "soft_labels", "learning_rate", "batch_size", "max_length"}
    return Training(
        **task.config.model_dump(include=settings),
        seed=seed,
        backend=task.backend,
        rows=len(task.chosen.rows),
        held_out_rows=len(task.parts.held_out),
        abstained=len(task.chosen.abstained),
        measured_on=len(task.chosen.measured_on),
        head=task.head.name,
        label_counts=task.head.label_counts(task.chosen.rows, task.labels),
        pruned=task.num_pruned,
        members=len(ensemble.members) if ensemble else 0,
        variants=ensemble.variants if ensemble else 0,
        epochs=done.epochs,
        precision=done.precision,
        device=done.device,
        wall_s=round(done.wall_s, 3),
        rows_per_s=round(num_texts * done.epochs / done.wall_s, 1),
        resumed_at_step=done.resumed_at,
        final_loss=done.final_loss,
        held_out_loss=done.held_out_loss,
        held_out_accuracy=calibrated.accuracy,
        temperature=calibrated.temperature,
    )


def _with_seeds(each: Sequence[Training]) -> Training:
    """The first student's, with the results of all where there are several."""
    if len(each) < 2:
        return each[0]
    accuracy = [one.held_out_accuracy for one in each if one.held_out_accuracy is not None]
    mean, spread = mean_and_spread(accuracy) if accuracy else (None, None)
    results = tuple(
        SeedResult(seed=one.seed, held_out_accuracy=one.held_out_accuracy, final_loss=one.final_loss) for one in each
    )
    return each[0].model_copy(update={"seeds": results, "held_out_accuracy_mean": mean, "held_out_accuracy_sd": spread})


def _move(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        file.replace(target / file.name)
