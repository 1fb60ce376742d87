"""Prompts for suites whose engine is simulated: as many as wanted, made as they are needed."""

from collections.abc import Iterator

from xpoll.core.records import AnswerSchema, Message, Prompt, Sampling


def label_prompts(documents: int) -> Iterator[Prompt]:
    """One question each, with the messages of a real one: a persona that all share, and a sentence."""
    sampling, schema = Sampling(0.8, 1.0, 16), AnswerSchema(("negative", "neutral", "positive"))
    system: Message = {"role": "system", "content": "You are a careful reader of business news. " * 5}
    for i in range(documents):
        question: Message = {"role": "user", "content": f"Text: sentence {i} of those that are asked about here"}
        yield Prompt(f"doc-{i}", "persona", 0, (system, question), sampling, schema)
