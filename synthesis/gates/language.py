"""Takes out texts of another language, as the package py3langid tells them."""

import functools
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from xpoll.core.config.task import Section
from xpoll.core.errors import ConfigError
from xpoll.synthesis.gates.gate import Candidate, Check

KEY = "synthesis.gates.language"


class LanguageOptions(Section):
    """[synthesis.gates.language]."""

    expected: Annotated[str, Field(pattern=r"^[a-z]{2}$")] = "en"
    """Language of the texts, by its ISO 639-1 code."""
    least_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability of another language from which a text is taken out."""


def make(options: LanguageOptions, _labels: Sequence[str]) -> Check:
    """The check.

    Raises:
        ConfigError: py3langid is not installed, or does not know the language.
    """
    identifier = _identifier()
    if options.expected not in identifier.labels:
        raise ConfigError(f"{KEY}.expected: {options.expected!r} is not known", mend="en, de, fr, es, zh, ...")

    def check(candidate: Candidate) -> str | None:
        language, share = identifier.classify(" ".join(candidate.text.split()))
        if language == options.expected or share < options.least_share:
            return None
        return f"is {language} with probability {share:.2f}, not {options.expected}"

    return check


@functools.cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise ConfigError(
            f"{KEY} needs the package py3langid", mend="pip install py3langid, or leave the gate out"
        ) from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
