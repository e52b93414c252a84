"""The page of a run, of real searches: what it shows, that it is self-contained, and that nothing in it can act."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import yaml
from torch import nn

import nasreg
from nasreg.cli import main
from nasreg.errors import InterruptedRunError, RunDirectoryError, TrainingError
from nasreg.events import EpochEnded, MemoryMeasured, Notice, StepEnded
from nasreg.nn import LayerChoice
from nasreg.report import write_report
from nasreg.report.page import graphics
from nasreg.runs.directory import RunDirectory
from nasreg.specs.metrics import LOSS, MetricSpec
from nasreg.testing import short_options, small_options, toy_images
from pages import Page, check
from tiny import TRAINER, Net

EVIL = """<script>alert("1")</script>&amp;<b onclick='x'>"""


@pytest.fixture(params=["darts", "pdarts", "random", "scripted", "chain"])
def any_run(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(darts, tmp_path) -> Path:
    """A finished run to spoil."""
    return Path(shutil.copytree(darts, tmp_path / "copy"))


def epochs(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"]


def heat_maps(page: Page) -> list[np.ndarray]:
    """Return the heat maps, ``(candidates, epochs, RGBA)``."""
    encoded = [each.get("href", "").partition("base64,")[2] for each in page.all("image")]
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(each)), format="png") for each in encoded]


def test_every_run_has_a_self_contained_page(any_run):
    page = check(any_run / "index.html")
    assert page.state == "state done"
    run = RunDirectory(any_run)
    for text in (run.spec.algorithm_title, run.spec.space.title, "cpu"):
        assert text in page.texts["run"]
    for text in ("TensorDataset", "2 classes"):
        assert (text in page.texts["run"]) == (json.loads(run.read_text("data.json"))["fingerprint"] is not None)
    assert nasreg.__version__ in page.texts["cost"]
    assert run.spec.to_yaml() in page.texts["cost"]
    assert f"nasreg show {any_run}" in page.texts["next"]
    assert "resume" not in page.texts["next"]
    assert all(text.strip() for text in page.texts.values()), "a section is empty"


@pytest.mark.parametrize("name", ["darts", "pdarts", "chain"])
def test_the_page_of_a_supernet_has_its_epochs(name, request):
    run_dir = request.getfixturevalue(name)
    page = Page(run_dir / "index.html")
    assert "peak memory" in page.texts["cost"]
    assert len(page.steps) == len(epochs(run_dir))
    assert f"{epochs(run_dir)[-1]['validation_loss']:.3f}" in page.texts["curves"]


def test_equal_runs_give_equal_bytes(any_run):
    before = (any_run / "index.html").read_bytes()
    assert write_report(any_run) == any_run / "index.html"
    assert (any_run / "index.html").read_bytes() == before
    assert not list(any_run.glob(".*.part"))


def test_a_cell_space(darts):
    page = Page(darts / "index.html")
    assert (darts / "genotype.txt").read_text().strip() in page.texts["result"]
    assert "node 0 = " in page.texts["result"]
    cell = RunDirectory(darts).space["normal"]
    last = epochs(darts)[-1]
    maps = heat_maps(page)
    assert [each.shape[:2] for each in maps] == [(len(cell.candidates[0]), 2)] * 2 * cell.n_edges
    assert all((each[..., 3] == 1).all() for each in maps), "a candidate is blank that is there"
    for name, weight in last["weights"]["reduce"][-1].items():
        assert name in page.texts["weights"]
        assert f"{weight:.3f}" in page.texts["weights"]
    strongest = max(weight for name, weight in last["weights"]["normal"][0].items() if name != "none")
    assert last["strengths"]["normal"][0] == pytest.approx(strongest, abs=1e-4)


def test_stages_and_what_they_dropped(pdarts):
    page = Page(pdarts / "index.html")
    lines = epochs(pdarts)
    assert [text in page.texts["curves"] for text in ("stage 1", "stage 2", "stage 3")] == [True, True, False]
    assert "stage 2, from epoch 3" in page.texts["curves"]
    assert "after stage 2 of 2" in page.texts["stages"]
    maps, space = heat_maps(page), RunDirectory(pdarts).space
    rows = [(cell, edge) for cell in space.choices for edge in range(cell.n_edges)]
    assert len(maps) == len(rows)
    for picture, (cell, edge) in zip(maps, rows, strict=True):
        there = [[name in line["weights"][cell.key][edge] for line in lines] for name in cell.candidates[edge]]
        assert (picture[..., 3] == 1).tolist() == there
    assert not all(heat[..., 3].all() for heat in maps)


def test_a_space_of_other_choices(chain):
    page = Page(chain / "index.html")
    space = RunDirectory(chain).space
    assert "Genotype" not in page.texts["result"]
    assert len(heat_maps(page)) == len(space.choices)
    for key, decision in RunDirectory(chain).architecture.decisions.items():
        assert key in page.texts["weights"]
        assert str(decision if isinstance(decision, str) else decision[0]) in page.texts["result"]


def test_the_slider_has_each_architecture_once(darts, tmp_path):
    """In a run of 100 epochs, that a search could have made."""
    shutil.copytree(darts, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    line, other = epochs(darts)[0], nasreg.Architecture.load(darts / "architectures/epoch-0001.json")
    found = [run.space.sample(Random(seed)) for seed in range(3)] + [other]
    written = [json.dumps({**line, "epoch": epoch}) for epoch in range(1, 101)]
    run.write_text("metrics.jsonl", "\n".join(written) + "\n")
    for epoch in range(1, 101):
        run.write_text(f"architectures/epoch-{epoch:04}.json", found[epoch % 3].to_json())
    page = check(write_report(run.path))
    assert len(page.steps) == 100
    assert [picture for picture, _ in page.steps[:6]] == [0, 1, 2, 0, 1, 2]
    assert "3 different architectures in 100 epochs." in page.texts["epochs"]


def test_only_so_many_architectures_are_shown(darts, tmp_path, monkeypatch):
    monkeypatch.setattr(graphics, "MAX_ARCHITECTURES", 4)
    shutil.copytree(darts, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    line, rng = epochs(darts)[0], Random(0)
    run.write_text("metrics.jsonl", "".join(json.dumps({**line, "epoch": epoch}) + "\n" for epoch in range(1, 11)))
    for epoch in range(1, 11):
        run.write_text(f"architectures/epoch-{epoch:04}.json", run.space.sample(rng).to_json())
    page = check(write_report(run.path))
    assert [int(re.findall(r"\d+", text)[0]) for _, text in page.steps] == [1, 4, 7, 10]
    assert "in 4 epochs, a selection out of 10" in page.texts["epochs"]


def test_only_so_many_weights_are_shown(chain, monkeypatch, tmp_path):
    monkeypatch.setattr(graphics, "MAX_WEIGHTS", 1)
    shutil.copytree(chain, tmp_path / "run")
    page = check(write_report(tmp_path / "run"))
    assert len(heat_maps(page)) == 1
    more = len(RunDirectory(chain).space.choices) - 1
    assert f"{more} more would make this page too long" in page.texts["weights"]


def interrupt_after(epoch: int, step: int) -> Callable[[Any], None]:
    def interrupt(event: Any) -> None:
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (epoch, step):
            signal.raise_signal(signal.SIGINT)

    return interrupt


@pytest.fixture(scope="module")
def interrupted_run(tmp_path_factory, search) -> Path:
    """A run that the command line can resume, interrupted in its second epoch."""
    out = tmp_path_factory.mktemp("interrupted") / "a run"
    with pytest.raises(InterruptedRunError):
        nasreg.search(
            "chain", "digits", "darts", trainer=short_options("darts"), space_options=small_options("chain"),
            dataset_options={"limit": 100}, device="cpu", out=out, callbacks=[interrupt_after(2, 1)],
        )  # fmt: skip
    return out


@pytest.fixture
def interrupted(interrupted_run, tmp_path) -> Path:
    """A copy of it, to be changed; its path has a space."""
    return Path(shutil.copytree(interrupted_run, tmp_path / "a run"))


def test_an_interrupted_run(interrupted):
    page = check(write_report(interrupted))
    assert (page.state, "1 epoch," in page.texts["header"]) == ("state other", True)
    assert "interrupted in epoch 2 after step 1" in page.text
    assert "Architecture so far" in page.texts["result"]
    assert f"nasreg resume '{interrupted}'" in page.texts["next"]
    assert "retrain" not in page.texts["next"]
    nasreg.resume(interrupted)
    page = check(interrupted / "index.html")
    assert page.state == "state done"
    assert "resumed once" in page.texts["header"]
    assert "resume" not in page.texts["next"]
    assert f"nasreg retrain '{interrupted}'" in page.texts["next"]


def test_interrupted_before_the_first_epoch_has_ended(tmp_path, search):
    """The search of an object is resumed in Python only."""
    with pytest.raises(InterruptedRunError):
        search(tmp_path / "run", space="chain", callbacks=[interrupt_after(1, 1)])
    page = check(tmp_path / "run/index.html")
    assert "There is no architecture before the end of the first epoch." in page.texts["result"]
    assert f"nasreg.search(..., out='{tmp_path}/run', resume=True)" in page.texts["next"]
    assert not {"curves", "epochs", "weights", "diagnostics"} & page.texts.keys()


def test_a_failed_run_says_why(tmp_path, search):
    with pytest.raises(TrainingError) as info:
        search(tmp_path / "run", space="chain", trainer={**short_options("darts"), "epochs": 20, "lr": 1e30})
    page = check(tmp_path / "run/index.html")
    assert "failed" in page.texts["header"]
    assert str(info.value) in page.texts["header"]


class Hostile(nn.Module):
    """A model whose candidates are named to break a page."""

    def __init__(self) -> None:
        super().__init__()
        names = [EVIL, """"';}</style></svg>&lt;""", "$\\alpha$ url(//x)"]
        self.conv = LayerChoice({name: nn.Conv2d(1, 4, 1) for name in names}, key="conv")
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.conv(x).flatten(2).amax(2))


def test_hostile_names_are_only_text(tmp_path):
    nasreg.search(Hostile(), toy_images(), trainer=TRAINER, device="cpu", out=tmp_path / "<b>&'\"")
    page = check(tmp_path / "<b>&'\"/index.html")
    for text in (EVIL[:21], """"';}</style></svg>&lt;""", "$\\alpha$ url(//x)"):
        assert text in page.texts["weights"]
    assert "<b>&'" in page.texts["cost"]


def test_hostile_files_are_only_text(pdarts, tmp_path):
    run = RunDirectory(shutil.copytree(pdarts, tmp_path / "run"))
    spec = yaml.safe_load(run.read_text("run.yaml"))
    spec["dataset"]["name"] = spec["preset"] = EVIL
    run.write_text("run.yaml", yaml.safe_dump(spec))
    run.write_json("environment.json", {"command": [EVIL], "versions": {EVIL: EVIL}, "started": EVIL, "machine": {}})
    run.write_json("status.json", {"state": EVIL, "resumed": 1, "error": EVIL})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"event": "stage", "stage": 3, "epoch": 4, "summary": EVIL}) + "\n")
    run.write_text(
        "stages/stage-3.svg",
        """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="alert(1)">
        <script>alert(1)</script><style>@import url(http://x)</style><a href="javascript:alert(1)"><text>link</text></a>
        <image href="http://x/y.png"/><use xlink:href="http://x#y"/><foreignObject><b>x</b></foreignObject>
        <rect style="fill:url(http://x);stroke:#222222" onclick="alert(1)" fill="url('http://x#y')" width="3"/>
        <text>&lt;script&gt;alert(1)&lt;/script&gt;</text><animate href="#x"/></svg>""",
    )
    page = check(write_report(run.path))
    assert EVIL in page.all("title") or EVIL in page.text
    for section in ("header", "run", "curves", "cost"):
        assert EVIL in page.texts[section], section
    assert "<script>alert(1)</script>" in page.texts["stages"]
    assert "http://x" not in page.source
    assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)&lt;/script&gt;", "", page.source)


def test_a_run_of_an_older_version(copy):
    """Without weights and memory, with fewer files, and with counts of skip connections that are no longer recorded."""
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("weights", "model", "diagnostics"):
            line.pop(name, None)
        if line["event"] == "epoch":
            line["skips"] = {"normal": 2}
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("environment.json", "data.json", "status.json", "index.html"):
        (copy / name).unlink()
    page = check(write_report(copy))
    assert "unknown" in page.texts["header"]
    assert "weights" not in page.texts
    for name in ("metrics.jsonl", "architecture.json"):
        (copy / name).unlink()
    check(write_report(copy))


def test_numbers_that_were_not_finite_are_left_out(copy):
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    last = lines[-1]
    last["validation_loss"] = last["strengths"]["normal"][0] = None
    last["weights"]["normal"][0] = dict.fromkeys(last["weights"]["normal"][0])
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = check(write_report(copy))
    assert "not finite" in page.texts["curves"]
    assert (heat_maps(page)[0][..., 3] == [1, 0]).all()


def test_metrics_of_any_unit(copy):
    """A metric may be of another task."""
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == "epoch":
            line |= {"test_rmse": 0.25, "entropy": 2.0, "arch_<b>": 1}
    lines[-1]["test_rmse"] = None
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rmse = MetricSpec(name="rmse", title="RMSE", unit="m", higher_is_better=False)
    page = check(write_report(copy, metrics=(LOSS, rmse)))
    assert "%" not in page.texts["header"] + page.texts["curves"]
    for text in ("RMSE (m)", "test RMSE", "0.250 m", "not finite", "entropy", "2.000", "arch <b>"):
        assert text in page.texts["curves"], text


def test_diagnostics_are_charts(copy):
    """Those of the search, and more than one chart can take, with names that matplotlib would treat in its own way."""
    page = Page(copy / "index.html")
    for text in ("skip_connect in normal", "skip_connect in reduce"):
        assert text in page.texts["diagnostics"]
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    names = [EVIL, "_hidden", "$\\frac", "d", "e", "f"]
    for line in lines:
        if line["event"] == "epoch":
            line["diagnostics"] = dict.fromkeys(names, None if line["epoch"] == 1 else 0.5)
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = check(write_report(copy))
    assert len(re.findall('aria-label="diagnostics over epochs', page.source)) == 2
    for text in (EVIL[:20], "_hidden", "$\\frac", "f"):
        assert text in page.texts["diagnostics"]


def test_metrics_say_that_they_are_the_supernets(darts):
    page = Page(darts / "index.html")
    accuracy = epochs(darts)[-1]["validation_accuracy"]
    assert f"validation accuracy of the supernet {accuracy:.1%}" in page.texts["header"]
    assert "Loss and accuracy of the supernet" in page.texts["curves"]
    assert f"validation accuracy of the supernet {accuracy:.1%}" in page.steps[-1][1]
    assert {line["model"] for line in epochs(darts)} == {"supernet"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "metrics.jsonl",
            '{"event": "epoch", "epoch": "x"}\n',
            "metrics.jsonl has an invalid line of kind epoch: epoch: ",
        ),
        ("status.json", "[]", "status.json is damaged: Input should be"),
        ("stages/a.svg", "<svg", "drawing 'a' is not SVG"),
        ("stages/a.svg", b"\xff\xfe", "cannot read"),
        ("architecture.json", "{}", "is not an architecture"),
        ("run.yaml", "- 1", "run.yaml"),
    ],
)
def test_a_damaged_file_is_one_line(copy, capsys, name, content, says):
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(nasreg.NasregError, match=says) as info:
        write_report(copy)
    assert "\n" not in str(info.value)
    assert main(["show", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", ["", '{"event": "epoch", "ep'])
def test_metrics_of_a_finished_run_that_are_cut_short_do_not_replace_a_good_page(copy, content):
    before = (copy / "index.html").read_bytes()
    (copy / "metrics.jsonl").write_text(content)
    with pytest.raises(RunDirectoryError, match="the run is done, but the last line of the file is incomplete"):
        write_report(copy)
    assert (copy / "index.html").read_bytes() == before


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunDirectoryError, match="no run directory"):
        write_report(tmp_path / "none")
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_does_not_hide_how_the_run_ended(tmp_path, search):
    notices: list[str] = []

    def note(event: Any) -> None:
        if isinstance(event, MemoryMeasured):
            (tmp_path / "run/index.html").mkdir(exist_ok=True)
        if isinstance(event, Notice):
            notices.append(event.message)

    with pytest.raises(InterruptedRunError, match="interrupted in epoch 2"):
        search(tmp_path / "run", space="chain", callbacks=[note, interrupt_after(2, 1)])
    assert len(notices) == 1
    assert notices[0].startswith("no report was written (cannot write")
    assert search(tmp_path / "run", space="chain", callbacks=[note], resume=True)
    assert RunDirectory(tmp_path / "run").status["state"] == "done"
    assert len(notices) == 2


def test_show_writes_it_anew_without_torch(copy):
    (copy / "index.html").unlink()
    code = "import sys; from nasreg.cli import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "show", "copy"],
        cwd=copy.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.rstrip().endswith("wrote copy/index.html")
    check(copy / "index.html")


def test_show_of_a_run_that_has_not_ended(interrupted, capsys):
    (interrupted / "index.html").unlink()
    assert main(["show", str(interrupted)]) == 2
    printed = capsys.readouterr()
    assert "wrote " in printed.out
    assert f"has no architecture yet: nasreg resume '{interrupted}'" in printed.err
    check(interrupted / "index.html")


def test_weights_are_those_of_the_mutator():
    events: list[Any] = []
    nasreg.search(Net(), toy_images(), trainer=TRAINER, device="cpu", callbacks=[events.append])
    for event in events:
        if isinstance(event, EpochEnded):
            assert {key: [sorted(row) for row in rows] for key, rows in event.weights.items()} == {
                "conv": [["conv1", "conv3"]], "skip": [["0", "1"]],
            }  # fmt: skip
            assert sum(event.weights["conv"][0].values()) == pytest.approx(1)
            assert event.strengths == {key: (max(rows[0].values()),) for key, rows in event.weights.items()}


CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
]  # fmt: skip


def browse(page: Path, tmp_path: Path, *options: str) -> str:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium")
        pytest.skip("there is no chromium")
    profile = tmp_path / "profile"
    done = subprocess.run(
        [program, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
def test_in_a_browser(pdarts, tmp_path):
    """What a reader sees: the slider works, nothing is wider than a telephone, the picture is not blank."""
    page = tmp_path / "page.html"
    text = (pdarts / "index.html").read_text()
    first, last = (check(pdarts / "index.html").steps[number] for number in (0, -1))
    blocked = page.with_name("blocked.html")
    blocked.write_text(text.replace("</body>", "<script>document.title = 'broken into'</script></body>"))
    seen = browse(blocked, tmp_path, "--dump-dom")
    assert "<title>broken into" not in seen
    assert last[1] in Page(_written(tmp_path / "last.html", seen)).texts["epochs"]
    # A reader moves the slider to its start; the policy of the page allows no other script, so that it is lifted here.
    move = """<script>const s = document.getElementById("epoch"); s.value = 0; s.dispatchEvent(new Event("input"));
        document.title = document.documentElement.scrollWidth + " " + innerWidth;</script>"""
    page.write_text(re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"{move}</body>"))
    moved = browse(page, tmp_path, "--dump-dom", "--window-size=500,900")
    assert first[1] in moved
    shown = re.findall(r"<div( hidden=\"\")?><svg role=\"img\" aria-label=\"architecture derived", moved)
    assert [number for number, hidden in enumerate(shown) if not hidden] == [first[0]]
    width, room = map(int, re.search(r"<title>(\d+) (\d+)</title>", moved).groups())
    assert width <= room
    for scheme in ("0", "1"):
        browse(
            pdarts / "index.html", tmp_path, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1200,2000",
            f"--blink-settings=preferredColorScheme={scheme}",
        )  # fmt: skip
        picture = matplotlib.image.imread(tmp_path / "page.png")
        assert picture.shape[:2] == (2000, 1200)
        assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 100
        assert (picture[2, 2, :3].mean() < 0.5) == (scheme == "0")


def _written(path: Path, text: str) -> Path:
    path.write_text(re.sub(r"\n$", "", text), encoding="utf-8")
    return path
