"""What the network found reaches with the weights of the supernet, and BatchNorm statistics that fit it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import nasreg
from fault_models import Net, Normalised
from nasreg.errors import UsageError
from nasreg.events import NetworkMeasured, Notice
from nasreg.nn import recalibrate_batch_norm
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")


def search(space=Normalised, algorithm="darts", **more):
    options = {"trainer": {"epochs": 2, "batch_size": 16, "lr": 0.2}} if algorithm == "darts" else {}
    return nasreg.search(space, toy_images(64), algorithm, device="cpu", **options, **more)


def measured(into):
    return lambda event: into.append(event) if isinstance(event, NetworkMeasured) else None


def test_the_statistics_become_those_of_the_network_alone():
    result = search()
    kept, renewed = result.model(keep_weights=True), result.model(keep_weights=True, recalibrate=True)
    differing = [
        name
        for (name, one), other in zip(kept.state_dict().items(), renewed.state_dict().values(), strict=True)
        if not torch.equal(one, other)
    ]
    assert differing == ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    inputs = []
    renewed.norm.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    renewed.eval()(torch.stack([image for image, _ in toy_images(64)]))
    assert torch.allclose(renewed.norm.running_mean, inputs[0].mean(0), rtol=0.2)


def test_a_search_says_what_the_network_found_reaches(tmp_path):
    events: list[NetworkMeasured] = []
    result = search(out=tmp_path / "run", callbacks=[measured(events)], dataset_options={"validation_fraction": 0.25})
    event = events[0]
    assert event.metric.name == "validation_accuracy"
    assert event.supernet == result.history[-1]["validation_accuracy"]
    assert json.loads((tmp_path / "run/status.json").read_text())["network"] == {
        "metric": "validation_accuracy",
        "supernet": event.supernet,
        "inherited": event.inherited,
        "recalibrated": event.recalibrated,
    }
    without: list[NetworkMeasured] = []
    search(Net, callbacks=[measured(without)])
    assert without[0].metric.name == "arch_accuracy"
    assert without[0].recalibrated is None


def test_a_network_that_cannot_be_measured_does_not_cost_the_result():
    class Fragile(Net):
        def forward(self, x):
            if not hasattr(self.conv, "candidates"):
                raise ValueError("not without its choice")
            return super().forward(x)

    messages = []
    result = search(Fragile, callbacks=[lambda event: messages.append(event) if isinstance(event, Notice) else None])
    assert result.architecture.decisions["conv"] in ("c1", "c3")
    assert "the network found could not be measured (ValueError: not without its choice)" in messages[-1].message


def test_only_weights_of_a_supernet_can_be_recalibrated():
    with pytest.raises(UsageError, match="recalibrate=True is for the weights of the supernet"):
        search().model(recalibrate=True)


def test_any_network_can_be_recalibrated():
    network = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    network[3].requires_grad_(False)
    network[0].eval()
    modes = [module.training for module in network.modules()]
    batches = [torch.randn(8, 3) * 3 + 2 for _ in range(3)]
    recalibrate_batch_norm(network, batches)
    assert torch.allclose(network[0].running_mean, torch.stack([batch.mean(0) for batch in batches]).mean(0))
    assert torch.allclose(network[2].running_mean, torch.zeros(3), atol=1e-5)
    assert torch.equal(network[3].running_var, torch.ones(3))  # frozen
    assert network[0].momentum == 0.3
    assert [module.training for module in network.modules()] == modes
    with pytest.raises(UsageError, match="there is none"):
        recalibrate_batch_norm(network, [])
    assert network[0].num_batches_tracked == 3
