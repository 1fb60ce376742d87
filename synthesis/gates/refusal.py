"""Takes out answers in which a model declines, offers its help, or speaks of itself as one."""

import re
from collections.abc import Sequence

from xpoll.core.config.task import Section
from xpoll.synthesis.gates.gate import Candidate, Check

_HELP = (
    r"(?:assist|help (?:you|with (?:that|this|your request|such))"
    r"|fulfil\w*|comply|generate|engage in"
    r"|(?:write|create|provide|produce|answer|complete|continue|discuss|support|do|share|offer)"
    r" (?:with )?(?:that|this|such|your request|the request|any (?:content|text|information)|content"
    r"|an? (?:text|message|example|story|response)|examples|information (?:on|about|that)|explicit|harmful))"
)
"""What a model declines to do; "I can't create an account" is what a person may well say."""
_CANNOT = (
    r"(?:cannot|can not|can(?:'|\u2019)?t|won(?:'|\u2019)?t|will not"
    r"|am (?:unable|not able|not allowed) to|must decline to)"
)
_DECLINES = re.compile(
    rf"\bI(?: really| simply)? {_CANNOT}(?: in good conscience)? {_HELP}"
    rf"|\bI(?:'|\u2019)m (?:unable|not able|not allowed) to {_HELP}"
    r"|\bI (?:must|have to|need to) (?:respectfully )?decline\b"
    r"|\b(?:that|this) (?:request )?(?:goes against|violates) (?:my|our|the) (?:guidelines|polic)"
    r"|\bI(?:'m| am|\u2019m) not comfortable (?:with )?(?:writing|creating|providing|generating|answering)",
    re.IGNORECASE,
)
_AS_A_MODEL = re.compile(
    r"\b(?:as|I(?:'m| am|\u2019m)(?: just| only)?) an? (?:large |AI |artificial intelligence |helpful |digital )*"
    r"(?:language model|AI\b|artificial intelligence|chatbot|AI assistant|virtual assistant)"
    r"|\bmy (?:training data|programming|guidelines) (?:do|does|pro|prevent)",
    re.IGNORECASE,
)
_OFFERS = re.compile(
    r"\bI(?:'m| am|\u2019m) (?:always |only )?here to (?:help|assist)\b"
    r"|\bI(?:'d| would|\u2019d) be (?:happy|glad) to (?:help|assist)\b"
    r"|\b(?:how|what) (?:can|may) I (?:help|assist) you\b",
    re.IGNORECASE,
)
"""What an assistant says to who asks it, in place of what it was asked to write."""
BEGINNING_CHARS = 200
"""Where a refusal stands; a story may have one further on."""


class RefusalOptions(Section):
    """It has no settings."""


def make(_options: RefusalOptions, _labels: Sequence[str]) -> Check:
    """The check."""
    return _refuses


def _refuses(candidate: Candidate) -> str | None:
    if found := _AS_A_MODEL.search(candidate.text):
        return f"speaks as a model: {found[0]!r}"
    beginning = candidate.text[:BEGINNING_CHARS]
    for does, pattern in (("declines", _DECLINES), ("offers help", _OFFERS)):
        if found := pattern.search(beginning):
            return f"{does}: {' '.join(found[0].split())!r}"
    return None
