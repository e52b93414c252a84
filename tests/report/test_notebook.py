"""What Jupyter shows of an architecture and of a result."""

from __future__ import annotations

from html.parser import HTMLParser

import nasreg
from nasreg.specs import Architecture
from nasreg.testing import short_options, small_options, toy_images


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def test_results():
    result = nasreg.search(
        "darts", toy_images(48), trainer=short_options("darts"), space_options=small_options("darts"), device="cpu"
    )
    page = Page(result._repr_html_())
    assert {"svg", "table", "pre"} <= set(page.tags)
    assert result.genotype in page.words
    assert f"{result.history[-1]['validation_accuracy']:.1%}" in page.words
    trials = nasreg.search(
        "chain", toy_images(48), "random", trainer={"trials": 2, "epochs": 1}, space_options={"blocks": 1}, device="cpu"
    )
    best = max(trial["score"] for trial in trials.trials)
    assert f"{best:.1%}" in Page(trials._repr_html_()).words


def test_architectures_escape_what_is_in_them():
    architecture = Architecture(
        fingerprint="f",
        decisions={"<script>": "a&b", "inputs": ("0", "2"), "none": (), "cell": ((("sep<b>", 0), ("skip", 1)),)},
    )
    page = Page(architecture._repr_html_())
    assert "script" not in page.tags
    assert {"<script>", "a&b", "sep<b> (0) + skip (1)"} <= set(page.words)
