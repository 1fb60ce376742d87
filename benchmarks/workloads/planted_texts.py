"""Texts with one flaw each, for each gate, among texts without any."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xpoll.personas.near_duplicates import SIMILAR, jaccard, shingles_of
from xpoll.synthesis.gates.gate import Candidate
from xpoll.synthesis.template import Template

ASKED = (
    "You write examples for training a text classifier. Answer with the text alone: no title, no explanation.\n"
    "You are a beekeeper who sells honey at the market of a small town and keeps the books for three neighbours.\n"
    "Write one message of a customer to an online bank of the category. It is clearly worded, as a beginner sees."
)
"""What the texts are said to be answers to."""
REFUSALS = (
    "I'm sorry, but I can't assist with that.",
    "I'm sorry, but I cannot help you with this request.",
    "I cannot fulfill this request, because it asks for personal data.",
    "As an AI language model, I do not have a bank account.",
    "As an AI, I can only describe such a message: {text}",
    "I am unable to provide that kind of content.",
    "I apologize, but I can't write that message for you.",
    "Unfortunately, I cannot generate messages of real customers.",
    "I\u2019m sorry, I can\u2019t comply with this.",
    "I must respectfully decline to write this.",
    "I'm just a language model and have no card, but: {text}",
    "This request goes against my guidelines.",
)
FOREIGN = (
    "Wann kommt denn endlich meine neue Karte, ich warte schon seit zwei Wochen darauf und niemand antwortet mir.",
    "Je n'arrive pas \u00e0 me connecter \u00e0 mon compte depuis hier soir, que dois-je faire maintenant ?",
    "No puedo entrar en mi cuenta desde ayer por la noche, \u00bfqu\u00e9 tengo que hacer ahora?",
    "Non riesco ad accedere al mio conto da ieri sera, che cosa devo fare adesso?",
    "Quando chega finalmente o meu cart\u00e3o novo? J\u00e1 estou \u00e0 espera h\u00e1 duas semanas.",
    "Wanneer komt mijn nieuwe pas eindelijk? Ik wacht er al twee weken op en niemand geeft antwoord.",
)
LEAKS = ("{label}: {text}", "This is about {label}. {text}", "{text} ({label})", "[{upper}] {text}")


class PlantedText(NamedTuple):
    """A text at the gates, and the gate that has to stop it; None for one that has to pass."""

    candidate: Candidate
    gate: str | None


def plant_texts(
    clean: Sequence[str], labels: Sequence[str], template: Template, *, each: int, seed: int
) -> Iterator[PlantedText]:
    """The clean texts in order, and behind them `each` with a flaw for each gate, in drawn order.

    Args:
        clean: Texts of people, none a copy of another.
        labels: Labels whose names stand in none of them.
        template: What they are said to be of.
        each: How many are planted for each gate.
        seed: Of what is drawn.
    """
    draw = random.Random(seed)

    def candidate(number: int, text: str, label: str, reason: str = "stop") -> Candidate:
        return Candidate(f"planted-{number}", text, label, template, ASKED, reason, 99)

    for number, text in enumerate(clean):
        yield PlantedText(candidate(number, text, labels[number % len(labels)]), None)
    flaws = [(gate, i) for gate in FLAWS for i in range(each)]
    draw.shuffle(flaws)
    for number, (gate, i) in enumerate(flaws, len(clean)):
        label = labels[i % len(labels)]
        text, reason = _flawed(gate, draw.choice(clean), label, template, draw, i)
        yield PlantedText(candidate(number, text, label, reason), gate)


FLAWS = ("complete", "length", "refusal", "echo", "leakage", "language", "duplicates", "near_duplicates")


def _flawed(gate: str, text: str, label: str, template: Template, draw: random.Random, i: int) -> tuple[str, str]:
    own = f"{text} {draw.getrandbits(64):x} {draw.getrandbits(64):x} {draw.getrandbits(64):x}"
    match gate:
        case "complete":
            return own, "length"
        case "length":
            limit = template.header.longest_chars
            return (own * (limit // len(own) + 2) if i % 2 else "Hm."), "stop"
        case "refusal":
            return REFUSALS[i % len(REFUSALS)].format(text=own), "stop"
        case "echo":
            asked = ASKED.split()
            start = draw.randrange(len(asked) - 18)
            return " ".join(asked[start : start + 18]), "stop"
        case "leakage":
            shown = label.replace("_", " ") if i % 3 else label
            return LEAKS[i % len(LEAKS)].format(label=shown, upper=shown.upper(), text=own), "stop"
        case "language":
            return f"{FOREIGN[i % len(FOREIGN)]} {i}", "stop"
        case "duplicates":
            return (text.upper() if i % 2 else f" {text.replace(' ', '  ')}"), "stop"
        case _:
            return _nearly(text, draw), "stop"


def _nearly(text: str, draw: random.Random) -> str:
    """The text with a word more, or, where it is so short that this leaves it below the bound, a full stop."""
    words = text.split()
    place = draw.randrange(len(words) + 1)
    changed = " ".join([*words[:place], draw.choice(("again", "please", "now")), *words[place:]])
    is_near = jaccard(shingles_of(text), shingles_of(changed)) >= SIMILAR
    return changed if is_near else f"{text}."
