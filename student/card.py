"""The model card of a student: what it was trained on, how good it is, what it must not be used for.

Written as README.md into the student's folder, in the form that the Hugging Face hub reads. A figure that
was not measured is said to be so. Nothing here imports torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.files import read_json, write_text
from xpoll.core.formatting import as_line, counted, interval, percent, with_unit
from xpoll.student.evaluation import Evaluation, verdict_in
from xpoll.student.folder import MARKER
from xpoll.student.score_columns import score_columns
from xpoll.student.wording import comparison_sentence, verdict_sentence, votes_sentence

FILE = "README.md"


class EnergyUsed(NamedTuple):
    """Joules of labelling and training, None where they were not measured, and what counted them."""

    joules: float | None
    source: str


def write_card(
    student: Path,
    config: Mapping[str, Any],
    evaluation: Evaluation | None,
    *,
    personas: int,
    energy: EnergyUsed,
) -> Path:
    """Writes the card into the student's folder and returns where it is.

    Args:
        student: Student folder, with its training.json.
        config: The run's resolved config.
        evaluation: evaluation.json, if there is one.
        personas: How many personas were asked.
        energy: What labelling and training needed.
    """
    training = read_json(student / MARKER)
    parts = [
        _front_matter(training, evaluation),
        f"# {config['job']['name']}\n",
        _purpose(config),
        _data(training, config, personas, energy),
        _quality(evaluation),
        _limits(training),
        _use(training),
    ]
    write_text(student / FILE, "\n".join(parts))
    return student / FILE


def _front_matter(training: Mapping[str, Any], evaluation: Evaluation | None) -> str:
    lines = ["---", "library_name: transformers", f"pipeline_tag: {_pipeline(training)}", "tags:", "- xpoll"]
    lines += ["- distilled-from-votes", f"base_model: {json.dumps(training['encoder'])}"]
    if evaluation and evaluation.student:
        lines += ["metrics:", "- accuracy", "- f1"]
    return "\n".join([*lines, "---", ""])


_USES = {
    "label set": ("text-classification", 'classify("a text", truncation=True, top_k=None)'),
    "spans": ("token-classification", 'classify("a text")'),
}
"""Head to the pipeline that loads such a student, and a call of it; the others are text classifiers."""


def _pipeline(training: Mapping[str, Any]) -> str:
    return _USES.get(training.get("head", "label"), ("text-classification", ""))[0]


def _purpose(config: Mapping[str, Any]) -> str:
    labels = config["task"]["labels"]
    described = labels if isinstance(labels, dict) else dict.fromkeys(labels, "")
    lines = [f"A text classifier that answers: {as_line(config['task'].get('question') or 'which label fits?')}", ""]
    lines += ["| label | meaning |", "|---|---|"]
    lines += [f"| {as_cell(label)} | {as_cell(meaning or '')} |" for label, meaning in described.items()]
    return "\n".join([*lines, ""])


def _origin(config: Mapping[str, Any]) -> str:
    if path := config["documents"]["path"]:
        return f"from `{as_line(path)}`"
    return f"that {as_line(config['engine']['model'])} wrote in the name of personas"


def _data(training: Mapping[str, Any], config: Mapping[str, Any], personas: int, energy: EnergyUsed) -> str:
    base = config["engine"]["model"]
    models = [each["engine"].get("model", base) for each in config.get("teachers", [])] or [base]
    teacher = " and ".join(dict.fromkeys(models))
    counts = ", ".join(f"{as_line(label)} {count}" for label, count in training["label_counts"].items())
    lines = [
        "## Data",
        f"- {training['rows']} texts {_origin(config)}, labelled by votes, not by people; "
        f"on {training['abstained']} texts the votes abstained, {training['held_out_rows']} were kept out of training.",
        *_targets(training),
        f"- The votes are answers of {as_line(teacher)} to {counted(personas, 'persona')}, "
        f"counted by `{config['vote']['method']}`.",
        f"- Labels: {counts}.",
        f"- Trained from {as_line(training['encoder'])}, seed {training['seed']}, {training['epochs']} passes, "
        f"{training['precision']} on {as_line(training['device'])}, {training['wall_s']} s.",
        "- The licence of the texts and of the teacher's answers decides who may use this model.",
    ]
    source = "" if energy.joules is None else f" ({as_line(energy.source)})"
    measured = f"{with_unit(energy.joules, 'J')}{source}"
    return "\n".join([*lines, f"- Energy of labelling and training: {measured}.", ""])


def _targets(training: Mapping[str, Any]) -> list[str]:
    """What it was trained on in place of the votes; nothing for a student of all votes."""
    pruned, members, made_up = training["pruned"], training["members"], training["variants"]
    lines = []
    if pruned:
        lines.append(f"- {pruned} texts were left out: students of other texts contradict their votes.")
    if members:
        further = f", also to {made_up} texts made of the words of each" if made_up else ""
        lines.append(f"- It was trained on the mean answers of {members} students of these{further}.")
    return lines


def _quality(evaluation: Evaluation | None) -> str:
    verdict = f"Verdict: **{verdict_in(evaluation).word}**. {as_cell(verdict_sentence(evaluation))}"
    if evaluation is None or evaluation.student is None or evaluation.teacher is None:
        return f"## Quality\n{verdict}\n"
    lines = [
        "## Quality",
        verdict,
        "",
        f"On {counted(evaluation.gold_rows, 'text')} with known labels that it was not trained on:",
        "",
    ]
    raters = (("this model", evaluation.student), ("the votes that taught it", evaluation.teacher))
    if evaluation.measure == "accuracy":
        lines += ["| | accuracy | macro F1 | calibration error |", "|---|---|---|---|"]
        for name, score in raters:
            lines.append(f"| {name} | {percent(score.accuracy)} | {percent(score.f1_macro)} | {percent(score.ece)} |")
        lines += ["", f"95 % interval of its accuracy: {interval(*evaluation.student.accuracy_ci95)}.", ""]
    else:
        columns = score_columns(evaluation)
        lines += [f"| | {' | '.join(column.title for column in columns)} |", "|---" * (1 + len(columns)) + "|"]
        lines += [f"| {name} | {' | '.join(column.shown(score) for column in columns)} |" for name, score in raters]
        lines.append("")
    said = comparison_sentence(evaluation), votes_sentence(evaluation.comparison, evaluation.measure)
    if any(said):
        lines += [" ".join(filter(None, said)), ""]
    lines += ["| label | precision | recall | texts |", "|---|---|---|---|"]
    lines += [
        f"| {as_cell(label)} | {percent(found.precision)} | {percent(found.recall)} | {found.support} |"
        for label, found in evaluation.student.per_class.items()
    ]
    return "\n".join([*lines, ""])


def _limits(training: Mapping[str, Any]) -> str:
    lines = [
        "## Limits",
        "- It repeats the errors that its teacher makes systematically.",
        f"- It reads the first {training['max_length']} tokens of a text.",
        "- Texts of another kind or language than those above were not tried.",
    ]
    lines += [
        f"- No text was voted {as_line(label)!r}; it will not answer so."
        for label, count in training["label_counts"].items()
        if not count
    ]
    return "\n".join([*lines, ""])


def _use(training: Mapping[str, Any]) -> str:
    head = training.get("head", "label")
    temperature = f"{training['temperature']:.3f}"
    merged = ', aggregation_strategy="simple"' if head == "spans" else ""
    calibrated = {
        "spans": "`xpoll predict` gives the spans of each text with their places and words.",
        "label set": f"Divide the logits by {temperature}; a label fits from its threshold in calibration.json on. "
        "`xpoll predict` does both.",
    }
    usual = f"Divide the logits by {temperature} for calibrated probabilities (calibration.json); `xpoll predict` does."
    return "\n".join(
        [
            "## Use",
            "```python",
            "from transformers import pipeline",
            f'classify = pipeline("{_pipeline(training)}", model="THIS FOLDER"{merged})',
            _USES.get(head, ("", 'classify("a text", truncation=True)'))[1],
            "```",
            calibrated.get(head, usual),
            "",
        ]
    )


def as_cell(text: Any) -> str:
    """Text that breaks out of no cell of a Markdown table."""
    return as_line(text).replace("|", "\\|")
