"""What a run measures: its device, models, dtypes and arms, and the cases that come of them.

Read by ipex_step.py, too: imports nothing but PyTorch and this folder.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xpoll.kernels_bench.attention import attention_cases
from xpoll.kernels_bench.cases import Case, layer_gemms, row_cases


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to run.

    Attributes:
        device: "cpu" or what torch.accelerator has.
        models: Names in SHAPES.
        dtypes: Of GEMM; the first is that of all else.
        arms: Of "eager", "compile", "vllm" and "ipex".
        decode_tokens: Rows of a decode step, which is as many sequences.
        prefill_tokens: Rows of a prefill, and the context of a decode.
        samples: Times a median is over.
        most_s: Time after which no more samples of an arm are taken.
        ipex_python: Python of the environment that holds IPEX, for the arm "ipex".
    """

    device: str
    models: Sequence[str]
    dtypes: Sequence[str]
    arms: Sequence[str]
    decode_tokens: int
    prefill_tokens: int
    samples: int
    most_s: float
    ipex_python: str = ""


def cases_of(wanted: Wanted, dtypes: Sequence[str]) -> Iterator[Case]:
    """All operators of the wanted models; GEMM in those of its dtypes that the device multiplies."""
    main = wanted.dtypes[0]
    for model in wanted.models:
        for tokens in (wanted.decode_tokens, wanted.prefill_tokens):
            for dtype in [dtype for dtype in wanted.dtypes if dtype in dtypes]:
                yield from layer_gemms(model, tokens, dtype)
        yield from row_cases(model, wanted.decode_tokens, main)
        yield from attention_cases(
            model,
            main,
            prompt=wanted.prefill_tokens,
            sequences=wanted.decode_tokens,
            context=wanted.prefill_tokens,
        )
