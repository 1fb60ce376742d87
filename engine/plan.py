"""What a run will ask, on what, and how much of it is shared: pure, touches no device and loads no model."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from core.config import Engine
from core.models import PACKAGED, cache_folder
from core.records import Prompt
from engine.devices import Device

SAMPLE = 256
BLOCK_SIZE = {"cpu": 32, "xpu": 64, "cuda": 16}


def make_plan(
    prompts: Iterable[Prompt], *, documents: int, asked_each: int, config: Engine, devices: Sequence[Device]
) -> dict[str, Any]:
    """The plan of a run as plain JSON types; token counts are estimated from the first prompts.

    Args:
        prompts: The run's prompts; the first 256 are looked at.
        documents: Number of documents.
        asked_each: How many times each of them is asked about.
        config: The engine section.
        devices: Where engines will run; empty where only the cluster knows.
    """
    sample = list(islice(prompts, SAMPLE))
    return {
        "documents": documents,
        "prompts": documents * asked_each,
        "backend": config.backend,
        "model": config.model,
        "address": config.address,
        "devices": [str(device) for device in devices] or None,
        "device_name": devices[0].name if devices else None,
        "replicas": len(devices) or None,
        "max_in_flight": config.max_in_flight,
        "answer_max_tokens": sample[0].sampling.max_tokens if sample else None,
        **_token_estimates(sample, config, devices[0].kind if devices else "xpu"),
    }


def _token_estimates(sample: list[Prompt], config: Engine, kind: str) -> dict[str, Any]:
    """Nulls where the model's tokenizer is not on this machine yet."""
    unknown = {"prompt_tokens_each": None, "shared_prefix_tokens": None, "predicted_cached_share": None}
    tokenizer_file = _tokenizer_file(config.model)
    if tokenizer_file is None or not sample:
        return unknown
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))

    def tokens(contents: list[str]) -> int:
        # Chat templates add about four tokens a message: role, and marks of its beginning and end.
        return sum(len(encoding.ids) + 4 for encoding in tokenizer.encode_batch(contents, add_special_tokens=False))

    whole = mean(tokens([message["content"] for message in prompt.messages]) for prompt in sample)
    shared = mean(tokens([message["content"] for message in prompt.messages[:-1]]) for prompt in sample)
    block = int(config.vllm.get("block_size", BLOCK_SIZE[kind]))
    return {
        "prompt_tokens_each": round(whole, 1),
        "shared_prefix_tokens": round(shared, 1),
        # Only whole blocks of a prefix are reused.
        "predicted_cached_share": round(shared // block * block / whole, 3),
    }


def _tokenizer_file(model: str) -> Path | None:
    folder = cache_folder() / "models" / model if model in PACKAGED else Path(model)
    file = folder / "tokenizer.json"
    return file if file.is_file() else None
