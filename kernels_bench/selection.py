"""Selects the cases of a run: device, models, dtypes and arms.

Imported by ipex_step.py as well, so it imports nothing but PyTorch and this folder.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xpoll.kernels_bench.attention import attention_cases
from xpoll.kernels_bench.cases import Case, layer_gemms, row_cases


@dataclass(frozen=True, slots=True)
class CaseSelection:
    """The cases and arms of a run.

    Attributes:
        device: "cpu", or a name that torch.accelerator knows.
        models: Names in SHAPES.
        dtypes: Names in DTYPES for GEMM; the first one is that of all other operators.
        arms: Subset of "eager", "compile", "vllm" and "ipex".
        decode_tokens: Rows of a decode step, which is its number of sequences.
        prefill_tokens: Rows of a prefill, and the context of a decode.
        samples: Number of samples of a median.
        most_s: Time limit for the samples of an arm, in seconds.
        ipex_python: Python of the environment with IPEX, for the arm "ipex".
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


def cases_of(selection: CaseSelection, dtypes: Sequence[str]) -> Iterator[Case]:
    """All cases of a selection.

    Args:
        selection: The selection.
        dtypes: The dtypes that the device can multiply; GEMM in others is left out.
    """
    main = selection.dtypes[0]
    for model in selection.models:
        for tokens in (selection.decode_tokens, selection.prefill_tokens):
            for dtype in [dtype for dtype in selection.dtypes if dtype in dtypes]:
                yield from layer_gemms(model, tokens, dtype)
        yield from row_cases(model, selection.decode_tokens, main)
        yield from attention_cases(
            model,
            main,
            prompt=selection.prefill_tokens,
            sequences=selection.decode_tokens,
            context=selection.prefill_tokens,
        )
