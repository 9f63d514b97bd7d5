"""Pages as a browser's parser sees them, without a browser: their elements, texts and links."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

from tests.support.wire import Reply

_VOID: Final = {"meta", "link", "img", "input", "br"}


@dataclass
class Element:
    """One element: its name, its attributes, and the text in it."""

    name: str
    attributes: dict[str, str | None]
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of the text in it, spaces as one."""
        return " ".join("".join(self.texts).split())


class Page(HTMLParser):
    """A page that was read to its end; every element is closed in its place.

    Args:
        reply: with the page.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        self.feed(reply.body.decode())
        self.close()
        assert self._open == [], "all is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "no attribute comes twice"
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError("no page has comments")

    def all(self, tag: str, /, **attributes: str) -> list[Element]:
        """The elements of this name that have these attributes, whose underscores are hyphens."""
        wanted = {key.strip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [one for one in self.elements if one.name == tag and wanted.items() <= one.attributes.items()]

    def one(self, tag: str, /, **attributes: str) -> Element:
        """The only one of those."""
        [found] = self.all(tag, **attributes)
        return found

    def meta(self, name: str) -> str | None:
        """What the head says under this name or property; None if nothing."""
        found = [*self.all("meta", name=name), *self.all("meta", property=name)]
        return found[0].attributes["content"] if found else None

    @property
    def links(self) -> dict[str, str]:
        """Texts of links by where they lead to."""
        return {one.attributes["href"] or "": one.text for one in self.all("a")}

    @property
    def shape(self) -> list[str]:
        """The names of all elements, in their order."""
        return [one.name for one in self.elements]
