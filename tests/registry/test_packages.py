"""Both packages build as wheel and sdist, with all that belongs into them and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from plugin_venv import ROOT

pytestmark = pytest.mark.slow

PACKAGES = {"nasreg": ROOT, **{f"nasreg_{path.name}": path for path in sorted((ROOT / "plugins").iterdir())}}


@pytest.mark.parametrize("name", PACKAGES)
def test_wheel_and_sdist(name, tmp_path):
    source = PACKAGES[name]
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(words, check=True, capture_output=True)  # the wheel is made from the sdist
    wheel, sdist = next(tmp_path.glob("*.whl")), next(tmp_path.glob("*.tar.gz"))
    modules = {str(path.relative_to(source)) for path in (source / name).rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    info = {path for path in files if ".dist-info/" in path}
    assert files - info == modules | {f"{name}/py.typed"}
    assert any(path.endswith("licenses/LICENSE") for path in info)
    with tarfile.open(sdist) as archive:
        inside = {str(Path(*Path(path).parts[1:])) for path in archive.getnames()}
    assert modules | {f"{name}/py.typed", "pyproject.toml", "README.md", "LICENSE"} <= inside
    assert not any(part.startswith("runs") or "__pycache__" in part for part in inside)
