"""The configuration page says what the code says."""

from tests.conftest import ROOT
from xpoll.scripts.dev.config_page import page


def test_the_configuration_page_is_the_one_that_the_code_makes() -> None:
    made = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert made == page(), "python -m xpoll.scripts.dev.config_page > docs/configuration.md"


def test_every_key_is_documented() -> None:
    empty = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not empty
