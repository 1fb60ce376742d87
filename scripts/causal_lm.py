"""What `xpoll status` and `xpoll run` print of a job whose student is a language model."""

import json

from xpoll.core.formatting import counted, number, percent, with_unit
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.causal_lm import CAUSAL_STEPS
from xpoll.pipeline.state import is_done
from xpoll.report.causal_lm import read_causal_metrics
from xpoll.student.causal_lm.wording import change_sentence, perplexity_text, seeds_text


def show_causal_status(folder: RunFolder, *, as_json: bool) -> int:
    """Prints which steps are done; 0."""
    done = [name for name in CAUSAL_STEPS if is_done(name, folder, CAUSAL_STEPS)]
    if as_json:
        print(json.dumps({"run_folder": str(folder.path), "steps_done": done, "problems": []}))
        return 0
    left = [name for name in CAUSAL_STEPS if name not in done]
    print(f"{folder.path}: steps done: {', '.join(done) or 'none'}; still to do: {', '.join(left) or 'none'}")
    return 0


def show_causal_metrics(folder: RunFolder, *, as_json: bool) -> int:
    """Prints what came of a run, in words or as metrics.json has it; 0.

    Raises:
        RunFolderError: the report step has not run, or metrics.json is of another version.
    """
    metrics = read_causal_metrics(folder)
    if as_json:
        print(json.dumps(metrics.as_json()))
        return 0
    training, evaluation = metrics.training, metrics.evaluation
    share = training.trained_parameters / (training.parameters + training.trained_parameters)
    print(f"\n{counted(training.rows, 'row')}, {training.held_out_rows} held out, {training.left_out} left out")
    print(f"student: {training.model} with LoRA, {number(training.trained_parameters)} weights ({percent(share)})")
    rate = f"{number(training.tokens_per_s)} tokens/s"
    print(f"training: {training.steps} steps on {training.device} in {number(training.wall_s)} s, {rate}")
    if metrics.energy.energy_j is not None:
        print(f"energy: {with_unit(metrics.energy.energy_j, 'J')} ({metrics.energy.source})")
    if evaluation and evaluation.before and evaluation.after:
        print(f"\nperplexity before {perplexity_text(evaluation.before)}")
        print(f"perplexity after  {perplexity_text(evaluation.after)}")
        if seeds := seeds_text(evaluation):
            print(seeds)
        for sample in evaluation.samples[:1]:
            print(f"for example {sample.prompt!r}\n  before {sample.before!r}\n  after  {sample.after!r}")
    print(f"verdict: {metrics.change}. {change_sentence(evaluation)}\n")
    print(f"report: {folder.report}")
    return 0
