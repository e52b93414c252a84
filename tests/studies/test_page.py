"""The page of a study: complete, without network, readable in both themes, no claim without a figure for it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import nasreg
from nasreg.report.drawing.colours import SERIES
from nasreg.report.page.html import TEMPLATES
from nasreg.studies import charts
from nasreg.studies.judging import rank
from pages import check

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(study):
    return check(study.page, links=True)


def test_its_sections(page):
    assert list(page.texts) == ["header", "problem-1", "protocol", "runs", "checklist"]
    assert page.state.endswith("done")
    assert "8 runs" in page.texts["header"]


def test_the_sentence_at_the_top_is_that_of_the_result(page, study):
    assert study.summary in " ".join(page.texts["header"].split())
    assert "too few to tell" in study.summary
    assert "4 seeds cannot tell algorithms apart" in page.texts["problem-1"]


def test_the_table_has_the_figures_of_the_result(page, study):
    for record in study.table():
        row = f"{record['algorithm']} {record['runs']} {record['mean']:.3f} g ± {record['std']:.3f} g"
        assert row in " ".join(page.texts["problem-1"].split())


def test_every_run_is_linked(page, study):
    links = [each["href"] for each in page.all("a") if not each["href"].startswith("#")]
    assert len(links) == 8
    assert links[0] == "runs/Digits-scripted/descent/seed-0/run.yaml"
    assert {Path(link).parent for link in links} == {run.path.relative_to(study.path) for run in study.runs}


def test_charts_describe_themselves(page):
    labels = [each["aria-label"] for each in page.all("svg")]
    for start in ("mean of the best cost so far over evaluations", "cost of every run", "mean rank over evaluations"):
        assert any(label.startswith(start) for label in labels), start
    assert "best architecture of descent" in labels


def test_both_themes_have_a_colour_for_each_algorithm(page):
    light, _, dark = page.styles.partition("prefers-color-scheme: dark")
    for number in range(len(SERIES)):
        assert re.search(rf"--series-{number}: #\w{{6}}", light)
        assert re.search(rf"--series-{number}: #\w{{6}}", dark)
    used = set(re.findall(r"var\(--([\w-]+)\)", page.source))
    assert used <= {*re.findall(r"--([\w-]+):", page.styles), "share"}
    drawn = "".join(re.findall(r"<svg.*?</svg>", page.source, re.DOTALL))
    colours = set(re.findall(r"(?:fill|stroke):\s*(#\w+)", drawn))
    assert not colours, "a colour that no theme replaces"


def test_a_light_and_a_dark_text_stand_out():
    """The contrast of each series with the card, by WCAG 2: at least 3, as for graphics."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, _, dark = (TEMPLATES / "page.css").read_text().partition("prefers-color-scheme: dark")
    for style in (light, dark):
        card = luminance(re.search(r"--card: (#\w+)", style)[1])
        for colour in re.findall(r"--series-\d: (#\w+)", style):
            bright, dim = sorted((luminance(colour), card), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 3, colour


def test_algorithms_differ_by_more_than_colour():
    found = charts.styles([f"a{number}" for number in range(20)])
    assert len({(each.dashes, each.colour) for each in found.values()}) == 20
    assert len({each.dashes for each in list(found.values())[:8]}) == 8
    assert len({each.marker for each in list(found.values())[:8]}) == 8


def test_the_checklist_says_what_is_fulfilled(page):
    points = re.findall(r"<li>([^<]*): <span class=\"mark [a-z]+\">([^<]*)</span>", page.source)
    assert len(points) == 14
    states = dict(points)
    assert states["comparison with random sampling and with random search"] == "fulfilled"
    assert states["several runs with different seeds"] == "partly"
    assert states["ablation studies"] == "left to you"
    assert states["the same evaluation protocol"] == "fulfilled"


def test_the_page_says_what_one_random_architecture_reaches(page):
    text = r"A random architecture, without any search: cost [\d.]+ g ± [\d.]+ g \(the first of each random search\)"
    assert re.search(text, page.source)


def test_the_protocol_is_stated(page):
    text = " ".join(page.texts["protocol"].split())
    assert "Every multi-trial search, random search included, has 6 evaluations." in text
    assert "algorithms: [" not in text
    assert "seeds0 to 3; the same for every algorithm" in text
    for word in ("machine", "threads", "torch", "kind: study"):
        assert word in text


@pytest.mark.slow
def test_names_are_shown_as_they_are(sums, tmp_path):
    label = "<b> $x$ & _y"
    algorithms = [{"algorithm": "descent", "label": label}, {"algorithm": "descent", "label": "a" * 60}]
    result = sums(algorithms, tmp_path / "a", seeds=2, title="A <title> & more")
    page = check(result.page, links=True)
    assert "A <title> & more" in page.texts["header"]
    assert label in page.texts["problem-1"]
    assert r"\textless" not in result.to_latex()
    assert r"\$x\$ \& \_y" in result.to_latex()


def test_the_diagram_of_many_algorithms(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 12)) + np.arange(12) / 3
    labels = [f"algorithm number {number}" for number in range(12)]
    ranking = rank(labels, values, "seeds", higher_is_better=True)
    figure = charts.critical_difference_figure("Ranks", ranking, charts.styles(labels))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert all(any(label in text for text in texts) for label in labels)


def test_the_page_of_runs_that_exist(study, tmp_path):
    shutil.copytree(study.path / "runs", tmp_path / "runs")
    result = nasreg.compare([tmp_path / "runs"], out=tmp_path / "page")
    page = check(result.page, links=True)
    assert "8 runs that existed" in page.texts["protocol"]
    assert "Next steps" not in page.source
