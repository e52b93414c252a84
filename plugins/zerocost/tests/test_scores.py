"""``score`` outside of searches: textbook formulas, what it leaves alone, and networks without such a score."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasreg.errors import UnknownNameError, UsageError
from nasreg_zerocost import MEASURES, layer_scores, score
from nasreg_zerocost.layers import ScoreError

MEASURE_NAMES = sorted(MEASURES)
FAST = {"zen": {"repeats": 2, "batch_size": 3}}


class Functions(nn.Module):
    """As users write networks: functions in place of modules, ReLU in place, an unused layer, a shared one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.shared, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)), inplace=True)
        x = torch.relu(self.shared(self.shared(x)).relu())
        return self.head(x.mean((2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Functions().double()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 2, 6, 6, dtype=torch.float64, generator=generator), torch.tensor([0, 1, 2, 3, 0])


def weight_gradients(network, batch):
    network = copy.deepcopy(network).train()
    weights = {name: network.get_submodule(name).weight for name in ("stem", "shared", "head")}
    loss = F.cross_entropy(network(batch[0]), batch[1])
    return weights, torch.autograd.grad(loss, list(weights.values()))


def test_gradients_as_in_the_papers(network, batch):
    weights, grads = weight_gradients(network, batch)
    pairs = [(weight.detach(), grad) for weight, grad in zip(weights.values(), grads, strict=True)]
    assert score(network, "grad_norm", *batch) == pytest.approx(sum(float(grad.norm()) for grad in grads))
    assert score(network, "snip", *batch) == pytest.approx(sum(float((w * g).abs().sum()) for w, g in pairs))
    assert score(network, "plain", *batch) == pytest.approx(sum(float((w * g).sum()) for w, g in pairs))
    by_layer = layer_scores(network, "snip", *batch)
    assert list(by_layer) == ["stem", "shared", "unused", "head"]
    assert by_layer["unused"] == 0.0
    assert by_layer["head"] == pytest.approx(float((pairs[2][0] * pairs[2][1]).abs().sum()))


def test_grasp_is_the_derivative_along_the_gradient(network, batch):
    weights, grads = weight_gradients(network, batch)
    step, moved = 1e-5, []
    for sign in (1, -1):
        other = copy.deepcopy(network)
        with torch.no_grad():
            for name, grad in zip(weights, grads, strict=True):
                other.get_submodule(name).weight += sign * step * grad
        moved.append(weight_gradients(other, batch)[1])
    product = [(ahead - behind) / (2 * step) for ahead, behind in zip(*moved, strict=True)]
    expected = -sum(float((w.detach() * hg).sum()) for w, hg in zip(weights.values(), product, strict=True))
    assert score(network, "grasp", *batch) == pytest.approx(expected, rel=1e-5)


def test_fisher_sums_over_the_calls_of_a_layer(network, batch):
    outputs = []
    copied = copy.deepcopy(network).train()
    for name in ("stem", "shared", "head"):
        module = copied.get_submodule(name)
        module.register_forward_hook(lambda module, _, output: outputs.append((module, output)) or output.clone())
    grads = torch.autograd.grad(F.cross_entropy(copied(batch[0]), batch[1]), [output for _, output in outputs])
    assert len(outputs) == 4
    expected = 0.0
    for (module, output), grad in zip(outputs, grads, strict=True):
        channels = (output * grad).flatten(2).sum(2) if output.dim() == 4 else output * grad
        expected += float((channels.detach() ** 2).mean(0).sum() / 2) * module.weight[0].numel()
    assert score(network, "fisher", *batch) == pytest.approx(expected)


def test_synflow_without_batch_norm(batch):
    convolution, head = nn.Conv2d(2, 3, 2, bias=False), nn.Linear(3, 2, bias=False)
    network = nn.Sequential(convolution, nn.BatchNorm2d(3), nn.Flatten(), head)
    conv, linear = convolution.weight.detach(), head.weight.detach()
    with torch.no_grad():
        network[1].weight.fill_(7)  # it does not count
    flow = float((conv.double().abs().sum((1, 2, 3)) * linear.double().abs()).sum())
    images = torch.zeros(4, 2, 2, 2)
    assert score(network, "synflow", images) == pytest.approx(2 * flow)
    assert layer_scores(network, "synflow", images) == pytest.approx({"0": flow, "3": flow})


def test_naswot_counts_relus_as_modules_and_functions(network, batch):
    codes = []
    x, shared = batch[0], network.shared
    first = network.train().norm(network.stem(x))
    second = shared(shared(first.relu()))
    for each in (first, second, second.relu()):
        codes.append((each > 0).flatten(1))
    on = torch.cat(codes, 1)
    agreement = (on[:, None] == on[None]).sum(2).double()
    assert score(network, "naswot", x) == pytest.approx(float(torch.logdet(agreement)))
    modules = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU6(), nn.Conv2d(3, 3, 1), nn.LeakyReLU(inplace=True)).double()
    hidden = modules[0](x)
    on = torch.cat([(hidden > 0).flatten(1), (modules[2](modules[1](hidden)) > 0).flatten(1)], 1)
    agreement = (on[:, None] == on[None]).sum(2).double()
    assert score(modules, "naswot", x) == pytest.approx(float(torch.logdet(agreement)))


def test_jacobians_that_do_not_correlate_score_best(batch):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(72, 1)).double()
    k = 1e-5  # all gradients are the same: one eigenvalue is 5, the number of images, and the others are 0
    alike = -(math.log(5 + k) + 1 / (5 + k) + 4 * (math.log(k) + 1 / k))
    assert score(linear, "jacob_cov", batch[0]) == pytest.approx(alike, rel=1e-6)
    correlations = torch.linalg.eigvalsh(torch.corrcoef(batch[0].flatten(1))) + k
    different = -float((correlations.log() + 1 / correlations).sum())
    assert score(_Square(), "jacob_cov", batch[0]) == pytest.approx(different) != alike


class _Square(nn.Module):
    def forward(self, x):
        return (x**2).sum((2, 3))


@pytest.mark.parametrize("measure", MEASURE_NAMES)
def test_the_network_and_the_images_stay_as_they_are(measure, network, batch):
    network.stem.weight.requires_grad_(False)
    network.eval()
    state = copy.deepcopy(network.state_dict())
    images = batch[0].clone()
    values = []
    for _ in range(2):
        torch.manual_seed(3)
        values.append(score(network, measure, *batch, **FAST.get(measure, {})))
    assert values[0] == values[1]
    assert math.isfinite(values[0])
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert torch.equal(images, batch[0])
    assert not batch[0].requires_grad
    assert not network.training
    assert not network.stem.weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.stem._forward_hooks


@pytest.mark.parametrize("measure", ["fisher", "grad_norm", "grasp", "plain", "snip", "synflow", "parameters", "macs"])
def test_a_network_without_parameters_scores_nothing(measure, batch):
    network = nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert score(network, measure, batch[0], batch[1] % 2) == 0.0


def test_zen_finds_the_last_global_pooling(batch):
    torch.manual_seed(5)
    body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
    poolings = [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(6), nn.AdaptiveMaxPool2d(1), _Mean()]
    values = []
    for pooling in poolings:
        torch.manual_seed(6)
        network = nn.Sequential(copy.deepcopy(body), pooling, nn.Flatten(), nn.Linear(3, 2)).double()
        torch.manual_seed(7)
        values.append(score(network, "zen", batch[0], repeats=1))
    assert len(set(values)) == 1


class _Mean(nn.Module):
    def forward(self, x):
        return x.mean((-1, -2), keepdim=True)


class _NoNumber(nn.Module):
    def forward(self, x):
        return (x * math.nan).flatten(1)


FLAT = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(108, 2))
SAME = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("network", "measure", "reason"),
    [
        (FLAT, "naswot", "the network has no ReLU: choose another measure"),
        (FLAT, "zen", "zen needs a network that ends in a global pooling"),
        (nn.Sequential(nn.Flatten(), nn.Threshold(1e9, 0)), "jacob_cov", "the output does not depend on an image"),
        (_NoNumber(), "jacob_cov", "the gradient by the images is not finite"),
        (
            nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.AdaptiveAvgPool2d(1)),
            "zen",
            "zen needs running statistics, which 0 does not have",
        ),
    ],
)
def test_a_network_without_such_a_score_says_why(network, measure, reason, batch):
    with pytest.raises(ScoreError, match=reason):
        score(network, measure, batch[0].float(), batch[1] % 2)


def test_a_score_that_is_not_finite_says_where():
    images = torch.zeros(4, 2, 6, 6)
    with pytest.raises(ScoreError, match="naswot is -inf: the network does not tell the images apart"):
        score(SAME, "naswot", images)
    network = copy.deepcopy(SAME)
    with torch.no_grad():
        network[0].weight.fill_(math.nan)
    with pytest.raises(ScoreError, match="snip is nan: the first layer whose share is not finite is 0"):
        score(network, "snip", images, torch.tensor([0, 1, 0, 1]))


def test_what_is_missing_is_named(batch):
    with pytest.raises(UnknownNameError, match=r"there is no zero-cost measure 'snipp'.*snip"):
        score(FLAT, "snipp", *batch)
    with pytest.raises(UsageError, match="measure 'snip' needs targets: the labels of the inputs"):
        score(FLAT, "snip", batch[0])
    with pytest.raises(UsageError, match="measure 'synflow' needs inputs: images, for their shape"):
        score(FLAT, "synflow")
    with pytest.raises(UsageError, match="measure 'zen' is not a sum over layers"):
        layer_scores(SAME, "zen", batch[0].float())
