"""The model card of a student: what it was trained on, how good it is, what it must not be used for.

Written as README.md into the student's folder, in the form that the Hugging Face hub reads. A figure that
was not measured is said to be so. Nothing here imports torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpoll.core.files import read_json, write_text
from xpoll.student.folder import MARKER

FILE = "README.md"
NOT_MEASURED = "not measured"


def write_card(
    student: Path,
    config: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    metrics: Mapping[str, Any] | None,
) -> Path:
    """Writes the card from what the run folder holds.

    Args:
        student: Student folder, with its training.json.
        config: The run's resolved config.
        evaluation: evaluation.json, if there is one.
        metrics: metrics.json, if there is one; for energy and the teacher.
    """
    training = read_json(student / MARKER)
    parts = [
        _front_matter(training, evaluation),
        f"# {config['job']['name']}\n",
        _purpose(config),
        _data(training, config, metrics),
        _quality(evaluation),
        _limits(training, evaluation),
        _use(training),
    ]
    write_text(student / FILE, "\n".join(parts))
    return student / FILE


def _front_matter(training: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: text-classification", "tags:", "- xpoll"]
    lines += ["- distilled-from-votes", f"base_model: {json.dumps(training['encoder'])}"]
    scores = (evaluation or {}).get("student")
    if scores:
        lines += ["metrics:", "- accuracy", "- f1"]
    return "\n".join([*lines, "---", ""])


def _purpose(config: Mapping[str, Any]) -> str:
    labels = config["task"]["labels"]
    described = labels if isinstance(labels, dict) else dict.fromkeys(labels, "")
    lines = [f"A text classifier that answers: {_line(config['task'].get('question') or 'which label fits?')}", ""]
    lines += ["| label | meaning |", "|---|---|"]
    lines += [f"| {_cell(label)} | {_cell(meaning or '')} |" for label, meaning in described.items()]
    return "\n".join([*lines, ""])


def _data(training: Mapping[str, Any], config: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    teacher = config["engine"]["model"]
    counts = ", ".join(f"{_line(label)} {count}" for label, count in training["label_counts"].items())
    lines = [
        "## Data",
        f"- {training['rows']} texts from `{_line(config['documents']['path'])}`, labelled by votes, not by people; "
        f"on {training['abstained']} texts the votes abstained, {training['held_out_rows']} were kept out of training.",
        *_targets(training),
        f"- The votes are answers of {_line(teacher)} to {len(config['panel']['personas']) or 1} persona(s), "
        f"counted by `{config['vote']['method']}`.",
        f"- Labels: {counts}.",
        f"- Trained from {_line(training['encoder'])}, seed {training['seed']}, {training['epochs']} passes, "
        f"{training['precision']} on {_line(training['device'])}, {training['wall_s']} s.",
        "- The licence of the texts and of the teacher's answers decides who may use this model.",
    ]
    energy = (metrics or {}).get("energy") or {}
    joules = energy.get("energy_j")
    source = energy.get("source")
    measured = NOT_MEASURED if joules is None else f"{joules:.0f} J ({_line(source)})"
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


def _quality(evaluation: Mapping[str, Any] | None) -> str:
    scores = (evaluation or {}).get("student")
    if not evaluation or not scores:
        return f"## Quality\nAccuracy: {NOT_MEASURED}; there were no texts with known labels.\n"
    low, high = scores["accuracy_ci95"]
    lines = [
        "## Quality",
        f"On {evaluation['gold_rows']} texts with known labels that it was not trained on:",
        "",
        "| | accuracy | macro F1 | calibration error |",
        "|---|---|---|---|",
    ]
    for name, key in (("this model", "student"), ("the votes that taught it", "teacher")):
        found = evaluation[key]
        ece = NOT_MEASURED if found["ece"] is None else f"{found['ece']:.3f}"
        lines.append(f"| {name} | {100 * found['accuracy']:.1f} % | {100 * found['f1_macro']:.1f} % | {ece} |")
    lines += ["", f"95 % interval of its accuracy: {100 * low:.1f} to {100 * high:.1f} %.", ""]
    comparison = evaluation.get("comparison") or {}
    if said := [comparison[name] for name in ("sentence", "votes_sentence") if comparison.get(name)]:
        lines += [" ".join(said), ""]
    lines += ["| label | precision | recall | texts |", "|---|---|---|---|"]
    for label, found in scores["per_class"].items():
        lines.append(f"| {_cell(label)} | {found['precision']:.2f} | {found['recall']:.2f} | {found['support']} |")
    return "\n".join([*lines, ""])


def _limits(training: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    lines = [
        "## Limits",
        "- It repeats the errors that its teacher makes systematically.",
        f"- It reads the first {training['max_length']} tokens of a text.",
        "- Texts of another kind or language than those above were not tried.",
    ]
    lines += [
        f"- No text was voted {_line(label)!r}; it will not answer so."
        for label, count in training["label_counts"].items()
        if not count
    ]
    step = (evaluation or {}).get("next_step")
    if step:
        lines.append(f"- Verdict: {step['decision']}. {step['why']}")
    return "\n".join([*lines, ""])


def _use(training: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "## Use",
            "```python",
            "from transformers import pipeline",
            'classify = pipeline("text-classification", model="THIS FOLDER")',
            'classify("a text", truncation=True)',
            "```",
            f"Divide the logits by {training['temperature']:.3f} for calibrated probabilities (calibration.json); "
            "`xpoll predict` does.",
            "",
        ]
    )


def _line(text: Any) -> str:
    """Text of a config in one line that ends no Markdown structure."""
    return " ".join(str(text).replace("`", "'").split())


def _cell(text: Any) -> str:
    return _line(text).replace("|", "\\|").replace("<", "&lt;")
