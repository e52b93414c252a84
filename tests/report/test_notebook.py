"""The HTML that Jupyter shows for an architecture and for a result."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

from nasreg.specs import Architecture


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


def test_results(darts_result, random_result, scripted_result):
    page = Page(darts_result._repr_html_())
    assert {"svg", "table", "pre"} <= set(page.tags)
    assert darts_result.genotype in page.words
    assert f"{darts_result.history[-1]['validation_accuracy']:.1%}" in page.words
    assert "validation accuracy of the supernet" in page.words
    best = max(trial["score"] for trial in random_result.trials)
    page = Page(random_result._repr_html_())
    assert {"best validation accuracy", f"{best:.1%}", "3 trials done"} <= set(page.words)
    page = Page(scripted_result._repr_html_())
    records = scripted_result.trials
    best = min(trial["score"] for trial in records if trial["status"] == "done")
    rejected = sum(trial["status"] == "rejected" for trial in records)
    assert {"best cost", f"{best:.3f} g", f"6 trials done, 2 failed, {rejected} rejected"} <= set(page.words)


def test_without_matplotlib_a_description_takes_the_place_of_the_drawing(darts_result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = Page(darts_result._repr_html_())
    assert "svg" not in page.tags
    assert "node 0 = " in "".join(page.words)


def test_architectures_escape_what_is_in_them():
    architecture = Architecture(
        fingerprint="f",
        decisions={"<script>": "a&b", "inputs": ("0", "2"), "none": (), "cell": ((("sep<b>", 0), ("skip", 1)),)},
    )
    page = Page(architecture._repr_html_())
    assert "script" not in page.tags
    assert {"<script>", "a&b", "sep<b> (0) + skip (1)"} <= set(page.words)
