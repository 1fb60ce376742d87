"""The configuration page says what the code says."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from xpoll.scripts.dev.config_page import page, type_of


def test_every_key_is_documented() -> None:
    empty = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not empty


def test_no_row_shows_python_s_own_form_of_a_type() -> None:
    types = [line.split(" | ")[1] for line in page().splitlines() if line.startswith("| `")]
    assert not [each for each in types if any(word in each for word in ("Annotated", "Field", "Union", "[", "None"))]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "string"),
        (bool | None, "boolean"),
        (Literal["auto", "cpu"], '`"auto"` or `"cpu"`'),
        (Literal["auto"] | bool, '`"auto"` or boolean'),
        (Annotated[float, Field(gt=0.5, lt=1)], "float, above 0.5, below 1"),
        (Annotated[int, Field(ge=1)] | None, "integer, at least 1"),
        (list[Annotated[float, Field(ge=0, le=1)]], "array of float, at least 0, at most 1"),
        (dict[str, float], "table of float"),
        (dict[str, Any], "table"),
    ],
)
def test_types_are_named_as_toml_names_them(annotation: object, words: str) -> None:
    assert type_of(annotation) == words


def test_a_type_without_words_is_refused() -> None:
    with pytest.raises(TypeError, match="no words for"):
        type_of(complex)
