"""Rooflines of named or measured devices, shapes of models, and the time of a step under both.

Pure arithmetic over a table, or over the ceilings that `xpoll kernels` measured. Prefill is compute-bound; a
decode step is bound by reading the weights and the KV cache of every running sequence once, or by arithmetic
where that takes longer. The arithmetic of attention, kernel launches and the host are left out, so a real
engine is slower: it reaches a share of the peaks, which the functions take as an efficiency.
"""

from dataclasses import dataclass
from pathlib import Path

from xpoll.core.errors import ConfigError
from xpoll.core.files import read_json

BYTES_PER_KV_VALUE = 2  # bf16


@dataclass(frozen=True, slots=True)
class Roofline:
    """Peaks of one device.

    Attributes:
        name: Name of the device.
        bf16_tflop_per_s: Peak of BF16 matrix arithmetic, in TFLOP/s.
        bandwidth_gb_per_s: Peak memory bandwidth, in GB/s.
        memory_gib: Memory in GiB.
        source: Where the peaks come from, and which are derived or unconfirmed.
    """

    name: str
    bf16_tflop_per_s: float
    bandwidth_gb_per_s: float
    memory_gib: float
    source: str


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The shape of a model.

    Attributes:
        num_params: Number of weights, embeddings included.
        num_layers: Number of layers.
        num_kv_heads: Heads of keys and values per layer.
        head_dim: Values per head.
        bytes_per_weight: Size of a weight in bytes.
        context_tokens: Longest context in tokens; None where it is not known.
    """

    num_params: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    bytes_per_weight: float = 2.0
    context_tokens: int | None = None

    @property
    def weight_bytes(self) -> float:
        """Size of all weights in bytes."""
        return self.num_params * self.bytes_per_weight

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token in all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * BYTES_PER_KV_VALUE


ROOFLINES = {
    roofline.name: roofline
    for roofline in (
        Roofline(
            "max-1100",
            bf16_tflop_per_s=355.0,
            bandwidth_gb_per_s=1228.8,
            memory_gib=48.0,
            source="BF16: derived, 56 Xe cores x 4096 flop x 1.55 GHz; bandwidth: unconfirmed; "
            "memory: 48 GB HBM2e (glennklockwood.com/garden/processors/pvc), read as GiB",
        ),
        Roofline(
            "max-1550-tile",
            bf16_tflop_per_s=419.5,
            bandwidth_gb_per_s=1638.4,
            memory_gib=64.0,
            source="derived, half a card of 839 TFLOP/s BF16 (Intel, Hot Chips 34) and 3276.8 GB/s (Intel ARK); "
            "memory: 65,520 MB seen in FLAT mode (ALCF); "
            "measured on an Aurora tile (ALCF, 2026-01): 256 TFLOP/s BF16 GEMM, 1 TB/s triad",
        ),
        Roofline(
            "arc-pro-b60",
            bf16_tflop_per_s=98.3,
            bandwidth_gb_per_s=456.0,
            memory_gib=22.71,
            source="BF16: unconfirmed, 160 XMX x 256 flop x 2.4 GHz, as third-party tables have it; "
            "bandwidth: 456 GB/s (vLLM blog, 2025-11-11); memory: what PyTorch sees of 24 GB (vLLM 49482)",
        ),
        Roofline(
            "arc-pro-b65",
            bf16_tflop_per_s=98.5,
            bandwidth_gb_per_s=608.0,
            memory_gib=30.30,
            source="BF16: derived, half of 197 INT8 TOPS; these and the bandwidth of 608 GB/s: unconfirmed; "
            "memory: as a B70 shows it",
        ),
        Roofline(
            "arc-pro-b70",
            bf16_tflop_per_s=183.5,
            bandwidth_gb_per_s=608.0,
            memory_gib=30.30,
            source="BF16: derived, half of 367 INT8 TOPS; these and the bandwidth of 608 GB/s: unconfirmed; "
            "memory: what PyTorch sees of 32 GB (vLLM 53990)",
        ),
    )
}


def roofline_of(device: str) -> Roofline:
    """The roofline of a device in the table, or a measured one from a file that `xpoll kernels` wrote.

    Args:
        device: Name in ROOFLINES, or path of the file.

    Raises:
        ConfigError: it is neither.
    """
    if device in ROOFLINES:
        return ROOFLINES[device]
    path = Path(device)
    try:
        document = read_json(path)
        ceilings = [record for record in document["records"] if record.get("role") == "ceiling"]
        (triad,) = (record["gb_per_s"] for record in ceilings if record["kernel"] == "triad")
        gemms = {record["dtype"]: record["gflop_per_s"] for record in ceilings if record["kernel"] == "gemm"}
        memory_gib = document["environment"]["memory_gib"]
        tflop_per_s = gemms["bf16"] / 1000
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"engine.simulated.device = {device!r} is neither a known device ({', '.join(ROOFLINES)}) nor a file of "
            "measured ceilings",
            mend="xpoll kernels writes such a file",
        ) from error
    return Roofline(path.stem, tflop_per_s, triad, memory_gib, f"measured by xpoll kernels: {path}")


MODEL_SHAPES = {
    "smollm2-135m": ModelShape(134_515_008, num_layers=30, num_kv_heads=3, head_dim=64, context_tokens=8192),
    "llama-3.1-8b": ModelShape(8_030_261_248, num_layers=32, num_kv_heads=8, head_dim=128, context_tokens=131_072),
    "qwen2.5-7b": ModelShape(7_615_616_512, num_layers=28, num_kv_heads=4, head_dim=128, context_tokens=32_768),
    "qwen2.5-14b": ModelShape(14_770_033_664, num_layers=48, num_kv_heads=8, head_dim=128, context_tokens=32_768),
    "qwen2.5-32b": ModelShape(32_763_876_352, num_layers=64, num_kv_heads=8, head_dim=128, context_tokens=32_768),
}


def prefill_s(roofline: Roofline, shape: ModelShape, tokens: int, *, compute_efficiency: float = 1.0) -> float:
    """Seconds to compute `tokens` prompt tokens, at two FLOP per weight and token.

    Args:
        roofline: The device.
        shape: The model.
        tokens: Number of prompt tokens.
        compute_efficiency: Share of the peak arithmetic that is reached, 0 to 1.
    """
    return 2 * shape.num_params * tokens / (roofline.bf16_tflop_per_s * 1e12 * compute_efficiency)


def decode_step_s(
    roofline: Roofline,
    shape: ModelShape,
    running: int,
    context_tokens: int,
    *,
    compute_efficiency: float = 1.0,
    bandwidth_efficiency: float = 1.0,
) -> float:
    """Seconds of a decode step: one more token for each running sequence.

    Args:
        roofline: The device.
        shape: The model.
        running: Number of sequences in the batch.
        context_tokens: Tokens in the KV cache, summed over the running sequences.
        compute_efficiency: Share of the peak arithmetic that is reached, 0 to 1.
        bandwidth_efficiency: Share of the peak bandwidth that is reached, 0 to 1.
    """
    read_bytes = shape.weight_bytes + shape.kv_bytes_per_token * context_tokens
    reading_s = read_bytes / (roofline.bandwidth_gb_per_s * 1e9 * bandwidth_efficiency)
    return max(reading_s, prefill_s(roofline, shape, running, compute_efficiency=compute_efficiency))


def kv_capacity_tokens(roofline: Roofline, shape: ModelShape, *, memory_share: float = 0.9) -> int:
    """Tokens whose keys and values fit beside the weights; 0 where the weights alone do not fit.

    Args:
        roofline: The device.
        shape: The model.
        memory_share: Share of the memory that the engine may use, 0 to 1.
    """
    free_bytes = roofline.memory_gib * 2**30 * memory_share - shape.weight_bytes
    return max(0, int(free_bytes // shape.kv_bytes_per_token))
