"""The page of a run as a browser takes it, and what holds for every page."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from nasreg.report.page import html

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """A page as a browser takes it: its elements, and the text inside each section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.text = ""
        self.scripts: list[str] = []
        self.styles = ""
        self._open: list[str] = []
        self._section = "header"
        self.feed(self.source)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert len(found) == len(attrs)
        self.elements.append((tag, found))
        self._section = found["aria-labelledby"] if tag == "section" else self._section
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.handle_data(" ")
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] == ["style"]:
            self.styles += data
        else:
            self.text += data
            self.texts[self._section] = self.texts.get(self._section, "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def state(self) -> str:
        return next(each["class"] for each in self.all("span") if each.get("class", "").startswith("state"))

    @property
    def steps(self) -> list[Any]:
        slider = next(each for each in self.all("input") if each["id"] == "epoch")
        return json.loads(slider["data-steps"])


def check(path: Path, *, links: bool = False) -> Page:
    """Check what holds for every page, and return it.

    Args:
        path: The page.
        links: Whether it may lead to other files next to it, which exist then.
    """
    page = Page(path)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "img", "foreignobject", "animate"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "srcset", "data"):
                if links and tag == "a" and not value.startswith("#"):
                    assert (path.parent / unquote(value)).exists(), value
                    continue
                assert value.startswith(("#", "data:image/png;base64,"))
    inline = " ".join(attributes.get(name, "") for _, attributes in page.elements for name in ("style", "fill"))
    assert not re.search(r"url\((?!#)|@import", page.styles + inline)
    assert len(page.scripts) == 1
    assert page.scripts[0] == (html.TEMPLATES / "page.js").read_text()
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert set(ids.values()) == {1}, "ids collide"
    wanted = set(re.findall(r"url\(#([^)]*)\)", page.source)) | {
        attributes["href"][1:] for _, attributes in page.elements if attributes.get("href", "").startswith("#")
    }
    assert wanted <= ids.keys()
    assert all(each["aria-label"] for each in page.all("svg"))
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[:2] == ["h1", "h2"]
    assert headings.count("h1") == 1
    return page
