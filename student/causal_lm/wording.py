"""The sentences about a fine-tuned language model, made from numbers; terminal, page and card show the same ones."""

from xpoll.core.formatting import counted, number
from xpoll.student.causal_lm.record import CausalEvaluation, Perplexity


def perplexity_text(found: Perplexity) -> str:
    """A perplexity or a ratio of two, with its interval."""
    if found.ci95 is None:
        return number(found.value)
    return f"{number(found.value)} ({number(found.ci95[0])} to {number(found.ci95[1])})"


def change_sentence(evaluation: CausalEvaluation | None) -> str:
    """What fine-tuning did to the held-out perplexity, in one or two sentences."""
    if evaluation is None:
        return "Nothing says what fine-tuning did: the student is not evaluated (xpoll evaluate)."
    if evaluation.before is None or evaluation.after is None or evaluation.ratio is None:
        return "Nothing says what fine-tuning did: no row is held out (student.held_out)."
    rows = f"{counted(evaluation.held_out_rows, 'held-out row')} ({counted(evaluation.held_out_tokens, 'token')})"
    goes = f"On {rows} perplexity goes from {number(evaluation.before.value)} to {number(evaluation.after.value)}"
    if evaluation.ratio.ci95 is None:
        return f"{goes}; that is too few rows for an interval."
    ratio = f"the ratio is {perplexity_text(evaluation.ratio)}"
    match evaluation.change:
        case "within noise":
            return f"{goes}, within noise: {ratio}."
        case _:
            return f"{goes}: {ratio}."


def seeds_text(evaluation: CausalEvaluation) -> str | None:
    """The spread over seeds; None with one."""
    if evaluation.seeds_mean is None or evaluation.seeds_sd is None:
        return None
    each = ", ".join(number(found.value) for found in evaluation.seeds)
    spread = f"mean {number(evaluation.seeds_mean)}, standard deviation {number(evaluation.seeds_sd)}"
    return f"perplexity of {len(evaluation.seeds)} seeds: {each} ({spread})"


WHAT_IT_IS = (
    "Perplexity is the exponential of the mean negative log-likelihood of the learned tokens: those of completions, "
    "and all of plain texts. It says how well the model foresees such rows, and not whether what it writes is true."
)
