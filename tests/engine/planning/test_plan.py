"""The plan counts tokens as the model's template makes them, and chooses the order that spares enough of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny import make_tiny_llama
from xpoll.core.config.job import EngineConfig
from xpoll.core.questions import Questions
from xpoll.core.records import AnswerSchema, Message, Prompt, Sampling
from xpoll.engine.devices.find import Device
from xpoll.engine.planning import model_shape
from xpoll.engine.planning.kv_cache import cache_of, engine_options
from xpoll.engine.planning.model_shape import shape_of
from xpoll.engine.planning.plan import Chosen, Plan, make_plan
from xpoll.engine.planning.prefix import Cache, Prediction, choose
from xpoll.engine.planning.token_counts import tokens_of

CPU = Device("cpu", 0, "a processor", (0,))
MAX_1550 = Device("xpu", 0, "Intel Data Center GPU Max 1550")
SHAPE = {
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "dtype": "bfloat16",
}
BYTES_PER_TOKEN_FP32 = 2 * 4 * 2 * 32 * 4


def prompt_of(document: int, variant: int, contents: list[str], *, problem: str | None = None) -> Prompt:
    roles = ["system", "user"]
    messages: tuple[Message, ...] = tuple(
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=True)
    )
    return Prompt(str(document), str(variant), 0, messages, Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b")), problem)


def both_orders(*, text: int, persona: int) -> dict[str, list[Prompt]]:
    """Six documents x four variants, words of the given numbers of characters."""
    texts = [f"{d}" * text for d in range(6)]
    personas = ["pqrs"[v] * persona for v in range(4)]
    return {
        "persona_first": [prompt_of(d, v, [personas[v], texts[d]]) for d in range(6) for v in range(4)],
        "text_first": [prompt_of(d, v, ["both", texts[d] + personas[v]]) for d in range(6) for v in range(4)],
    }


def plan_of(prompts: dict[str, list[Prompt]], chosen: Chosen | None = None, **engine: Any) -> Plan:
    config = EngineConfig(model="no-such-model", **engine)
    return make_plan(prompts, documents=6, asked_each=4, config=config, devices=[CPU], chosen=chosen)


def test_the_order_follows_what_is_longer() -> None:
    long_texts = plan_of(both_orders(text=2000, persona=200))
    assert long_texts.prompt_order == "text_first"
    assert "fewer tokens than persona_first" in long_texts.prompt_order_reason
    assert long_texts.predicted.keys() == {"persona_first", "text_first"}
    assert long_texts.predicted_cached_share == long_texts.predicted["text_first"].cached_share > 0.5
    assert long_texts.tokens_counted_by == "characters"

    long_personas = plan_of(both_orders(text=200, persona=2000))
    assert long_personas.prompt_order == "persona_first"
    assert long_personas.predicted_cached_share > 0.5


def test_an_order_that_is_chosen_already_stays() -> None:
    planned = plan_of(both_orders(text=2000, persona=200), Chosen("persona_first", "as before"))
    assert (planned.prompt_order, planned.prompt_order_reason) == ("persona_first", "as before")
    assert planned.predicted["text_first"].cached_share > planned.predicted_cached_share


def test_without_an_engine_of_ours_nothing_is_predicted() -> None:
    planned = plan_of(both_orders(text=2000, persona=200), backend="simulated")
    assert planned.prompt_order == "persona_first"
    assert planned.predicted == {}
    assert planned.predicted_cached_share is None


def test_rows_with_a_problem_are_not_counted() -> None:
    good = both_orders(text=300, persona=300)
    bad = {name: [prompt_of(9, v, ["", ""], problem="no text") for v in range(4)] + each for name, each in good.items()}
    assert plan_of(bad) == plan_of(good)


def test_the_block_size_that_is_set_decides_what_is_reused() -> None:
    prompts = both_orders(text=200, persona=400)  # about 100 tokens of persona in 4-character tokens
    shares = [plan_of(prompts, vllm={"block_size": size}).predicted_cached_share for size in (32, 64, 128)]
    assert shares[0] > shares[1] > shares[2] == 0
    assert plan_of(prompts).block_size == 32
    assert plan_of(prompts, vllm={"enable_prefix_caching": False}).predicted_cached_share == 0


@pytest.mark.parametrize(
    ("computed", "fits", "order", "said"),
    [
        ((1000, 400), True, "b", "b computes 60 % fewer tokens than a"),
        ((1000, 800), True, "a", "b computes 20 % fewer tokens than a; another order must save 50 %"),
        ((1000, 1500), True, "a", "b computes 50 % more tokens than a; another order must save 50 %"),
        ((1000, 400), False, "b", "b computes 60 % fewer tokens than a, whose prefixes do not all fit"),
    ],
)
def test_another_order_must_halve_what_is_computed(
    computed: tuple[int, int], fits: bool, order: str, said: str
) -> None:
    predictions = {name: Prediction(10, 5000, 5000 - n, fits) for name, n in zip("ab", computed, strict=True)}
    chosen, reason = choose(predictions)
    assert chosen == order
    assert reason.startswith(said)
    assert choose({"a": predictions["a"]})[0] == "a"


def test_tokens_are_those_of_the_model_s_own_template(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make_tiny_llama(tmp_path / "model")
    prompt = prompt_of(0, 0, ["You are \u00e9lite.", "Text: {{ x }} <|end|> 5"])
    [tokens], counted_by = tokens_of([prompt], str(tmp_path / "model"))
    expected = AutoTokenizer.from_pretrained(tmp_path / "model").apply_chat_template(
        list(prompt.messages), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert (list(tokens), counted_by) == (expected, "tokenizer")


def test_a_template_that_refuses_a_system_message_is_replaced_by_marks(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('System role not supported') }}")
    [tokens], counted_by = tokens_of([prompt_of(0, 0, ["abc", "defg"])], str(tmp_path))
    assert "".join(map(str, tokens)) == "<|system|>\nabc\n<|user|>\ndefg\n<|assistant|>\n"
    assert counted_by == "characters"


def model_folder(path: Path, **config: Any) -> str:
    (path / "config.json").write_text(json.dumps(SHAPE | config))
    return str(path)


def test_the_shape_of_the_model_is_read_once_per_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def known(model: str, name: str) -> None:
        read.append(f"{model}: {name}")

    monkeypatch.setattr(model_shape, "model_file", known)
    card = Device("xpu", 0, "Intel Data Center GPU Max 1100", memory_gib=48)
    config = EngineConfig(model="Qwen/Qwen2.5-7B-Instruct")
    prompts = both_orders(text=20, persona=20)
    plan = make_plan(prompts, documents=6, asked_each=4, config=config, devices=[card])
    assert read == ["Qwen/Qwen2.5-7B-Instruct: config.json"]
    assert plan.fit is not None and plan.fit.fits
    assert plan.rate_at_most is not None and (plan.rate_at_most.prompts_per_s or 0) > 0
    assert (plan.kv_cache_tokens or 0) > 0


def cache(model: str, device: Device, **vllm: Any) -> Cache:
    return cache_of(shape_of(model), engine_options(vllm, device), device)


def test_a_cpu_s_kv_cache_is_what_its_engine_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    model = model_folder(tmp_path)
    assert cache(model, CPU, dtype="float32") == (32, 2 * 2**30 // (BYTES_PER_TOKEN_FP32 * 32), True)
    assert cache(model, CPU, num_gpu_blocks_override=77, block_size=64) == (64, 77, True)
    assert cache("no-such-model", CPU).num_blocks is None
    latent = model_folder(tmp_path, kv_lora_rank=512)
    assert cache(latent, CPU, dtype="float32").num_blocks is None


def test_an_intel_gpu_s_kv_cache_is_what_weights_leave(tmp_path: Path) -> None:
    model = model_folder(tmp_path)
    half = {"gpu_memory_utilization": 0.5}
    assert cache(model, MAX_1550, **half).num_blocks is None  # without weights here nothing is known
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1_000_000)
    token_bytes = BYTES_PER_TOKEN_FP32 // 2
    assert cache(model, MAX_1550, **half) == (64, (32 * 2**30 - 1_000_000) // (token_bytes * 64), True)
    assert cache(model, Device("xpu", 0, "another GPU"), **half).num_blocks is None
    assert cache(model, MAX_1550, tensor_parallel_size=2).num_blocks is None


def asked_about_each(documents: int, labels: int) -> list[Prompt]:
    questions = Questions(tuple(f"Label: {number:02}. Yes?" for number in range(labels)), "Which of them? A list.")
    names = tuple(f"{number:02}" for number in range(labels))
    answer = AnswerSchema(names, '{"type": "array"}', logprobs=True, read=True, questions=questions)
    return [prompt_of(d, 0, ["p" * 400, f"{d}" * 400])._replace(answer=answer) for d in range(documents)]


def test_each_question_is_a_request_that_shares_the_text(tmp_path: Path) -> None:
    """One token a byte: a text is computed once, and each label costs its question and what its block holds."""
    config = EngineConfig(model=str(make_tiny_llama(tmp_path / "tiny")))
    prompts = {"persona_first": asked_about_each(6, 20)}
    planned = make_plan(prompts, documents=6, asked_each=1, config=config, devices=[CPU])
    assert planned.prompts == 6
    assert planned.requests_per_read == 20 * 4, "at most: what follows on nothing, y, ye and n"
    shared = 400 + 400
    own = round(planned.predicted["persona_first"].prompt_tokens_each) - shared
    each = planned.uncached_tokens_per_label
    assert each is not None
    assert own <= each <= own + 32 + shared / 20
    alone = make_plan(
        {"persona_first": asked_about_each(6, 1)}, documents=6, asked_each=1, config=config, devices=[CPU]
    )
    assert alone.uncached_tokens_per_label is not None
    assert each < alone.uncached_tokens_per_label / 4


def test_an_engine_that_writes_is_planned_with_one_request(tmp_path: Path) -> None:
    model = str(make_tiny_llama(tmp_path / "tiny"))
    prompts = {"persona_first": asked_about_each(6, 20)}
    written = EngineConfig(model=model, server_command=["vllm", "serve"])
    planned = make_plan(prompts, documents=6, asked_each=1, config=written, devices=[CPU])
    assert planned.requests_per_read is None
    read = make_plan(prompts, documents=6, asked_each=1, config=EngineConfig(model=model), devices=[CPU])
    each = planned.predicted["persona_first"].prompt_tokens_each
    longer = len("Which of them? A list.") - len("Label: 00. Yes?")
    assert each == read.predicted["persona_first"].prompt_tokens_each + longer
