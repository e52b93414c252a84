"""Every installed algorithm on every installed space: it searches, or it is refused beforehand with the reason.

New plugins and spaces are tested by being installed.
"""

from __future__ import annotations

import pytest
import torch

import nasreg
from nasreg.errors import IncompatibleError
from tiny import images

SPACES = {"darts": {"cells": 3, "channels": 2, "nodes": 2}, "chain": {"blocks": 2, "channels": 2}}
TRAINER = {"epochs": 2, "batch_size": 16, "trials": 2, "warmup_epochs": 1, "added_cells": [0, 1, 2]}


def trainer_options(algorithm: str) -> dict[str, object]:
    """Make a search short, by those options that the algorithm has."""
    known = {option["name"] for option in nasreg.describe(algorithm, "algorithm")["algorithm"]["trainer"]["options"]}
    return {name: value for name, value in TRAINER.items() if name in known}


@pytest.mark.parametrize("space", nasreg.list_spaces())
@pytest.mark.parametrize("algorithm", nasreg.list_algorithms())
def test_every_algorithm_on_every_space(algorithm, space, tmp_path):
    try:
        result = nasreg.search(
            space,
            images(),
            algorithm,
            trainer=trainer_options(algorithm),
            space_options=SPACES.get(space, {}),
            dataset_options={"validation_fraction": 0.25},
            out=tmp_path / "run",
            device="cpu",
        )
    except IncompatibleError as error:
        assert nasreg.get_algorithm(algorithm).requires or "cannot handle choice" in str(error)
        assert repr(algorithm) in str(error)
        assert not (tmp_path / "run").exists()
        return
    result.space.validate(nasreg.Architecture.load(tmp_path / "run/architecture.json"))
    network = result.model()
    assert not any(type(module).__module__.startswith("nasreg.nn") for module in network.modules())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    x, y = torch.rand(8, 1, 6, 6), torch.arange(8) % 2
    losses = []
    for _ in range(5):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
