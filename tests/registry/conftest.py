"""One environment for all tests of the registry: it is built once and no test changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin_cases import DAMAGED, FAILING, HOOK, WORKING, damage
from plugin_venv import ROOT, PluginVenv, build, write_plugin


@pytest.fixture(scope="session")
def core_wheels(tmp_path_factory) -> dict[str, Path]:
    """The wheels of nasreg and nasreg-darts."""
    folder = tmp_path_factory.mktemp("wheels")
    return {"core": build(ROOT, folder), "darts": build(ROOT / "plugins/darts", folder)}


@pytest.fixture(scope="session")
def venv(core_wheels, tmp_path_factory) -> PluginVenv:
    """Everything at once in one environment: plugins that fail, that work, and damaged distributions."""
    folder = tmp_path_factory.mktemp("plugins")
    sources = {name: source for name, (source, _) in FAILING.items()} | WORKING
    sources |= {name: HOOK + f"return [spec('{name}')]" for name in DAMAGED}
    wheels = []
    for name, source in sources.items():
        project = "odd" if name == "odd name!" else name
        wheels.append(build(write_plugin(folder / "src" / project, project, source, name), folder))
    for letter, factory in (("a", "DartsTrainer"), ("b", "Other")):
        source = HOOK + f"return [spec('twin', factory='nasreg_darts.trainer:{factory}')]"
        wheels.append(build(write_plugin(folder / "src" / letter, f"twin-{letter}", source, "twin"), folder))
    made = PluginVenv(tmp_path_factory.mktemp("venv"))
    made.install(*core_wheels.values(), *wheels)
    # the same distribution once more, from a second folder on the path
    second = made.folder / "second"
    second.mkdir()
    (made.site / "second.pth").write_text(f"{second}\n")
    for path in made.site.glob("nasreg_found_twice*"):
        (second / path.name).symlink_to(path)
    damage(made.site)
    return made


@pytest.fixture(scope="session")
def plain_venv(core_wheels, tmp_path_factory) -> PluginVenv:
    """nasreg and nasreg-darts alone; what a test installs goes into a folder of its own (``unpack``)."""
    made = PluginVenv(tmp_path_factory.mktemp("plain"))
    made.install(*core_wheels.values())
    return made
