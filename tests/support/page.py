"""A page as its reader gets it: visible text, headings, tables, attributes; and whether its tags nest."""

from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"meta", "link", "br", "rect", "path", "circle"}


class Page(HTMLParser):
    """One parsed page. `text` leaves out scripts, styles and JSON, and joins what is left by single spaces."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.problems: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(self.source)
        self.close()
        self.text = " ".join("".join(self._text).replace("\u00a0", " ").split())
        self.problems += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append((int(tag[1]), ""))
        self._text.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> at line {self.getpos()[0]} closes nothing")
        self._text.append(" ")

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "pre"} & set(self._open):
            self._text.append(data)
        if self._open and self._open[-1] in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]
