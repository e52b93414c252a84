"""Every package builds as wheel and sdist, with all that belongs into them and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from plugin_venv import ROOT

pytestmark = pytest.mark.slow

PACKAGES = {
    "nasreg": ROOT,
    **{f"nasreg_{path.name.replace('-', '_')}": path for path in sorted((ROOT / "plugins").iterdir())},
}


@pytest.mark.parametrize("name", PACKAGES)
def test_wheel_and_sdist(name, tmp_path):
    source = PACKAGES[name]
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(words, check=True, capture_output=True)  # the wheel is made from the sdist
    wheel, sdist = next(tmp_path.glob("*.whl")), next(tmp_path.glob("*.tar.gz"))
    inside = [path for path in (source / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files = {str(path.relative_to(source)) for path in inside}
    assert f"{name}/py.typed" in files
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    info = {path for path in packed if ".dist-info/" in path}
    assert packed - info == files
    assert any(path.endswith("licenses/LICENSE") for path in info)
    with tarfile.open(sdist) as archive:
        source_files = {str(Path(*Path(path).parts[1:])) for path in archive.getnames()}
    assert files | {"pyproject.toml", "README.md", "LICENSE"} <= source_files
    assert not any(part.startswith("runs") or "__pycache__" in part for part in source_files)
