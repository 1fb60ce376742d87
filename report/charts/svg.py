"""Inline SVG: an empty drawing, what is put into it, and the markup it becomes.

Text reaches a drawing only through ElementTree, which escapes it.
"""

from xml.etree.ElementTree import Element, SubElement, tostring

WIDTH = 360  # px; fits a phone at natural size, so that text in a drawing stays as large as text around it


class Svg(str):
    """A drawing that a template inserts without escaping it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def drawing(key: str, title: str, spoken: str, width: float, height: float) -> Element:
    """An empty drawing with a name and a description for those who do not see it."""
    root = Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": "img"})
    root.attrib |= {"width": f"{width:g}", "height": f"{height:g}", "class": "fits" if width <= WIDTH else "wide"}
    root.set("aria-labelledby", f"{key}-title {key}-desc")
    SubElement(root, "title", id=f"{key}-title").text = title
    SubElement(root, "desc", id=f"{key}-desc").text = spoken
    return root


def add(parent: Element, tag: str, **attributes: float | str) -> Element:
    """An element in `parent`; a trailing `_` of a name is dropped, other ones become `-`."""
    named = {k.rstrip("_").replace("_", "-"): v if isinstance(v, str) else f"{v:.6g}" for k, v in attributes.items()}
    return SubElement(parent, tag, named)


def line(svg: Element, path: str, kind: str) -> None:
    """A line on a bar; a wider one under it in the page's colour keeps the two apart."""
    add(svg, "path", d=path, class_="halo")
    add(svg, "path", d=path, class_=kind)


def text(parent: Element, x: float, y: float, text: str, kind: str, anchor: str = "start") -> None:
    """A text in one of the page's kinds; `anchor` is the part of it that stands at `x`."""
    add(parent, "text", x=x, y=y, class_=kind, text_anchor=anchor).text = text


def short(name: str, length: int) -> str:
    """A name cut in the middle, because names that begin alike are told apart by their ends."""
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - half]}\u2026{name[-half:]}"


def written(svg: Element) -> Svg:
    """The finished drawing as markup."""
    return Svg(tostring(svg, encoding="unicode"))
