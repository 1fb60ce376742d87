"""The probability of each label as Transformers computes it: the reference that reads are held against."""

from collections.abc import Sequence

import numpy as np


def teacher_forced(model_folder: str, prompts: Sequence[Sequence[int]], labels: Sequence[str]) -> np.ndarray:
    """How likely a causal model is to write each label after each prompt, in fp32.

    The tokens of all labels pass through the model; their probabilities are multiplied, and normalised over the
    labels. A label that another one continues is followed by the token that ends an answer.

    Args:
        model_folder: Folder of the model and its tokenizer.
        prompts: Token ids, (prompts, any).
        labels: The labels.

    Returns:
        Probabilities, (prompts, labels); each row sums to 1.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        model_folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    ).eval()
    tokens = [tokenizer.encode(label, add_special_tokens=False) for label in labels]
    tokens = [
        each + [tokenizer.eos_token_id] * any(other != each and other[: len(each)] == each for other in tokens)
        for each in tokens
    ]
    longest = max(map(len, tokens))
    padded = torch.tensor([each + [0] * (longest - len(each)) for each in tokens])
    is_label = torch.tensor([[place < len(each) for place in range(longest)] for each in tokens])
    rows = []
    with torch.inference_mode():
        for prompt in prompts:
            begun = model(torch.tensor([prompt]), use_cache=True)
            begun.past_key_values.batch_repeat_interleave(len(labels))
            later = model(padded[:, :-1], past_key_values=begun.past_key_values).logits if longest > 1 else None
            first = begun.logits[:, -1:].expand(len(labels), -1, -1)
            logits = first if later is None else torch.cat([first, later], dim=1)
            each_token = logits.log_softmax(-1).gather(-1, padded[..., None])[..., 0]
            rows.append((each_token * is_label).sum(1).softmax(0).numpy())
    return np.array(rows)
