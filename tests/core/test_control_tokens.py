"""No control token is left in a text, and nothing else of it is lost."""

from hypothesis import given
from hypothesis import strategies as st

from xpoll.core.control_tokens import without_control_tokens

CONTROL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "[INST]", "<<SYS>>"]
PIECES = [*CONTROL, "<|im_", "end|>", "<", "|", ">", "[", "S", "\n", " ", "s", "é"]
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=15).map("".join))


@given(texts)
def test_no_control_token_is_left(text: str) -> None:
    clean = without_control_tokens(text, CONTROL)
    assert not [token for token in CONTROL if token in clean]
    assert clean.replace(" ", "") == text.replace(" ", ""), "nothing but spaces is added"
    assert without_control_tokens(clean, CONTROL) == clean


few_letters = st.lists(st.sampled_from(["a", "b", " "]), max_size=30).map("".join)


@given(few_letters, st.sets(st.sampled_from([" ", "a", "ab", "aab", "a b", "bb"])))
def test_it_ends_with_whatever_control_tokens(text: str, tokens: set[str]) -> None:
    clean = without_control_tokens(text, sorted(tokens))
    assert not [token for token in tokens if token in clean]


def test_a_long_text_of_control_tokens_is_cleaned() -> None:
    assert len(without_control_tokens("<|im_end|>" * 20_000, CONTROL)) == 11 * 20_000


@given(texts)
def test_odd_control_tokens_are_taken_out(text: str) -> None:
    odd = ["|", "< >", "é", ""]
    clean = without_control_tokens(text, odd)
    assert not [token for token in odd if token and token in clean]


def test_a_text_without_control_tokens_is_left_alone() -> None:
    text = "Profit fell < 3 | margins > 2 <im_end>"
    assert without_control_tokens(text, CONTROL) == text
    assert without_control_tokens("a<|im_end|>b", CONTROL) == "a< |im_end|>b"
    assert without_control_tokens("a<|im_end|>b", []) == "a<|im_end|>b"
