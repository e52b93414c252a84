"""The fast supernet, and its second derivative alone, can be deleted: the numbers stay the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch

import nasreg

# Prints whether there is a fast supernet and its second derivative, and saves outputs and derivatives.
PROGRAM = """
import sys
import torch
from torch import nn
from nasreg.nn import (
    Cell, Execution, InputChoice, LayerChoice, execution, fast_double_backward, freeze, set_execution, skip_grad_for
)
from nasreg.spaces.operations import OPERATIONS

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        make = lambda name: lambda source, node: OPERATIONS[name](4, 2 if source < 2 else 1, affine=True)
        self.cell = Cell({"none": None, **{name: make(name) for name in OPERATIONS}}, nodes=2, edges_kept=1)
        block = [nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False)]
        pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.BatchNorm2d(8, affine=False))
        self.layer = LayerChoice([nn.Sequential(*block), pool, nn.Conv2d(8, 8, 1), nn.Identity()])
        self.inputs = InputChoice(2)

    def forward(self, x):
        x = self.cell(x, x.flip(1))
        return self.inputs([self.layer(x), x]).mean((2, 3))

numbers = []
for min_fused_numel in (0, 2**17):
    torch.manual_seed(0)
    model = Model().double()
    set_execution(model, Execution(min_fused_numel=min_fused_numel))
    weights = [torch.rand(size, dtype=torch.double, requires_grad=True) for size in ((5, 8), (4,), (2,))]
    for choice, own in zip(model.children(), weights):
        choice.bind(lambda own=own: own)
    x = torch.randn(3, 4, 8, 8, dtype=torch.double)
    by = [*model.parameters(), *weights]
    output = model(x)
    numbers += [output, *torch.autograd.grad(output.square().sum(), by)]
    with fast_double_backward():
        output = model(x)
    first = torch.autograd.grad(output.square().sum(), by, create_graph=True)
    along = sum((each * torch.linspace(-1, 1, each.numel()).double().view_as(each)).sum() for each in first)
    with skip_grad_for([]):
        numbers += [*first, *torch.autograd.grad(along, by)]
    numbers += [*model.buffers(), model.eval()(x)]
torch.save([each.detach() for each in numbers], sys.argv[1])
kind = type(execution.new_mixture(Execution(), "")).__name__
print(kind, "nasreg.nn.fast" in sys.modules, "nasreg.nn.fast.second_order.fused" in sys.modules)
"""


def run(package: Path, out: Path) -> tuple[str, list[torch.Tensor]]:
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROGRAM, str(out)]
    done = subprocess.run(command, env=environment, cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), torch.load(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    """The numbers of the whole package, in this process, which has imported it already."""
    out = tmp_path_factory.mktemp("whole") / "numbers.pt"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.setattr(sys, "argv", ["", str(out)])
        exec(PROGRAM, {})  # noqa: S102  # it is written above
    assert said.getvalue() == "FastMixture True True\n"
    return torch.load(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "says"), [("fast/second_order", "FastMixture True False"), ("fast", "Mixture False False")]
)
def test_without_a_folder_the_numbers_are_the_same(tmp_path, whole, folder, says):
    shutil.copytree(Path(nasreg.__file__).parent, tmp_path / "nasreg", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "nasreg/nn" / folder)
    said, without = run(tmp_path, tmp_path / "numbers.pt")
    assert said == says
    for one, other in zip(whole, without, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
