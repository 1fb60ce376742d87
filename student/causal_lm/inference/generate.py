"""What a language model writes for prompts, greedily. Imports torch: import it where it is needed."""

from collections.abc import Sequence
from typing import Any

import torch

from xpoll.core.progress import Progress
from xpoll.student.training.encoder import quiet

BATCH = 16


def completions(tokenizer: Any, model: Any, prompts: Sequence[Sequence[int]], *, most_tokens: int) -> list[str]:
    """The likeliest continuation of each prompt, token by token, without control tokens.

    Args:
        tokenizer: Of the model.
        model: A causal language model in eval mode.
        prompts: Token ids.
        most_tokens: Tokens after which a completion is cut.
    """
    pad = tokenizer.pad_token_id
    written: list[str] = []
    with torch.inference_mode(), quiet(), Progress("writing samples", total=len(prompts), unit="samples") as progress:
        for first in range(0, len(prompts), BATCH):
            batch = prompts[first : first + BATCH]
            longest = max(map(len, batch))
            ids = torch.tensor([[*[pad] * (longest - len(each)), *each] for each in batch])
            mask = torch.tensor([[k >= longest - len(each) for k in range(longest)] for each in batch]).long()
            made = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                max_new_tokens=most_tokens,
                pad_token_id=pad,
            )
            written += tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
            progress.add(len(batch))
    return written
