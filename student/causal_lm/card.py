"""The model card of a fine-tuned language model: what it was trained on, what was measured, what its limits are.

Written as README.md into the student's folder, in the form that the Hugging Face hub reads. Nothing here imports torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpoll.core.files import write_text
from xpoll.core.formatting import as_line, counted, number
from xpoll.student.card import FILE, as_cell
from xpoll.student.causal_lm.folder import read_causal_training
from xpoll.student.causal_lm.record import CausalEvaluation, CausalTraining
from xpoll.student.causal_lm.wording import WHAT_IT_IS, change_sentence, perplexity_text, seeds_text

SAMPLES = 3


def write_causal_card(student: Path, config: Mapping[str, Any], evaluation: CausalEvaluation | None) -> Path:
    """Writes the card into the student's folder and returns where it is.

    Args:
        student: Student folder, with its training.json.
        config: The run's resolved config.
        evaluation: evaluation.json, if there is one.
    """
    training = read_causal_training(student)
    parts = [
        _front_matter(training),
        f"# {config['job']['name']}\n",
        f"{as_line(training.model)}, fine-tuned with LoRA to write completions; the LoRA weights are merged.\n",
        _data(training, config),
        _quality(evaluation),
        _samples(evaluation),
        _limits(training),
        _use(config),
    ]
    write_text(student / FILE, "\n".join(parts))
    return student / FILE


def _front_matter(training: CausalTraining) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    lines += ["tags:", "- lora", "- trl", "- sft", f"base_model: {json.dumps(training.model)}", "---", ""]
    return "\n".join(lines)


def _data(training: CausalTraining, config: Mapping[str, Any]) -> str:
    lora = ", ".join(f"{name} {as_line(value)}" for name, value in training.lora.items())
    share = training.trained_parameters / (training.parameters + training.trained_parameters)
    return "\n".join(
        [
            "## Training",
            f"- {counted(training.rows, 'row')} from `{as_line(config['documents']['path'])}`, "
            f"{number(training.learned_tokens)} learned tokens; {training.held_out_rows} held out, "
            f"{training.left_out} left out, {training.cut_rows} cut at {training.max_length} tokens.",
            f"- LoRA ({lora}): {number(training.trained_parameters)} weights, {100 * share:.2f} % of the model's.",
            f"- {training.steps} steps of {training.batch_size} sequences, {number(training.epochs)} passes, learning "
            f"rate {training.learning_rate}, seed {training.seed}, {training.precision} on "
            f"{as_line(training.device)}, {number(training.wall_s)} s.",
            "- The licences of the base model and of the rows decide who may use this model.",
            "",
        ]
    )


def _quality(evaluation: CausalEvaluation | None) -> str:
    lines = ["## Quality", as_cell(change_sentence(evaluation)), ""]
    if evaluation is not None and evaluation.before is not None and evaluation.after is not None:
        lines += ["| | perplexity of held-out rows (95 %) |", "|---|---|"]
        lines += [
            f"| before | {perplexity_text(evaluation.before)} |",
            f"| after | {perplexity_text(evaluation.after)} |",
        ]
        seeds = seeds_text(evaluation)
        lines += ["", *([f"{seeds[0].upper()}{seeds[1:]}."] if seeds else []), WHAT_IT_IS, ""]
    return "\n".join(lines)


def _samples(evaluation: CausalEvaluation | None) -> str:
    if evaluation is None or not evaluation.samples:
        return ""
    lines = ["## Samples", "Greedy completions of held-out prompts.", "", "| prompt | row | before | after |"]
    lines.append("|---|---|---|---|")
    for each in evaluation.samples[:SAMPLES]:
        cells = (each.prompt, each.completion, each.before, each.after)
        lines.append(f"| {' | '.join(as_cell(cell[:300]) for cell in cells)} |")
    return "\n".join([*lines, ""])


def _limits(training: CausalTraining) -> str:
    return "\n".join(
        [
            "## Limits",
            "- It was measured on rows of the kind that it was trained on and on nothing else; what the base model "
            "could do beside them may have become worse.",
            "- It can write what is false, and repeats what is wrong in its rows.",
            f"- Rows of more than {training.max_length} tokens were not seen.",
            "",
        ]
    )


def _use(config: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "## Use",
            "```bash",
            f"xpoll serve THIS_FOLDER --name {as_line(config['job']['name'])}   # or: vllm serve THIS_FOLDER",
            "```",
            "Prompts are written by the chat template in this folder.",
            "",
        ]
    )
