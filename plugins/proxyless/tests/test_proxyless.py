"""ProxylessNAS: gradients of gates, costs and REINFORCE against enumeration and differences; what a step changes."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch import nn

import nasreg
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.errors import ConfigError, NasregError
from nasreg.mutators import OneShotMutator, SoftmaxMutatorConfig
from nasreg.networks.block_costs import measure_blocks
from nasreg.nn import Cell, Execution, LayerChoice, extract_space, set_execution
from nasreg.registry import Registry
from nasreg.specs import Config, DataInfo, RunSpec, Selection
from nasreg.tasks import Classification
from nasreg.testing import toy_images
from nasreg.trainers import OneShotContext
from nasreg_proxyless.config import ProxylessTrainerConfig
from nasreg_proxyless.mutator import ProxylessMutator
from nasreg_proxyless.trainer import ProxylessTrainer

INFO = DataInfo(channels=2, height=6, width=6, classes=("a", "b", "c"))
EXECUTIONS = ["plain", "optimized"]


class Smooth(nn.Module):
    """A layer choice in two places and a cell, without a kink, so that finite differences are accurate."""

    def __init__(self) -> None:
        super().__init__()

        def conv(size: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(2, 2, size, padding=size // 2, bias=False), nn.BatchNorm2d(2))

        def layer() -> LayerChoice:
            return LayerChoice({"one": conv(1), "three": conv(3), "skip": nn.Identity()}, key="layer")

        self.first, self.second = layer(), layer()
        operations = {"none": None, "conv": lambda *_: conv(3), "skip": lambda *_: nn.Identity()}
        self.cell = Cell(operations, inputs=1, nodes=2, edges_kept=1, key="cell")
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.head(torch.tanh(self.cell(x)).mean((2, 3)))


def make_trainer(execution: str = "optimized", **options: object) -> ProxylessTrainer:
    torch.manual_seed(0)
    context = OneShotContext(
        spec=RunSpec(
            algorithm="proxyless", space=Selection(name="own"), dataset=Selection(name="own"), mutator={}, trainer={}
        ),
        space=extract_space(Smooth()),
        data=None,  # type: ignore[arg-type]  # the batches are given
        task=Classification(),
        device=torch.device("cpu"),
        build_supernet=lambda: Smooth().double(),
        make_mutator=lambda space: ProxylessMutator(space, SoftmaxMutatorConfig(init_std=0.7)).double(),
        capabilities={},
        measure_blocks=lambda model, names: measure_blocks(model.float(), INFO, names),
    )
    defaults = {"warmup_epochs": 0, "epochs": 10, "arch_every": 1, "execution": execution}
    trainer = ProxylessTrainer(context, ProxylessTrainerConfig(**{**defaults, **options}))
    trainer.setup()
    trainer.model.double()
    trainer.start_epoch(0)
    return trainer


def batch(seed: int = 0, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 6, 6, generator=generator, dtype=torch.float64), torch.arange(n) % 3


class Given(OneShotMutator):
    """Answers with given weights."""

    def __init__(self, space, answers) -> None:
        super().__init__(space, Config())
        self.answers = answers

    def answer(self, choice):
        return self.answers[choice.key]

    def architecture(self):
        raise NotImplementedError


def loss_with(trainer: ProxylessTrainer, gates: dict[tuple[str, int, str], float]) -> float:
    """Return the loss with the numbers of some gates: (key, row, candidate) -> number."""
    space = trainer.mutator.space
    answers: dict[str, object] = {}
    for choice in space.choices:
        rows = [
            {
                n: torch.tensor(v, dtype=torch.float64)
                for (k, r, n), v in gates.items()
                if (k, r) == (choice.key, number)
            }
            for number in range(len(choice.rows))
        ]
        answers[choice.key] = rows if choice.key == "cell" else rows[0]
    Given(space, answers).attach(trainer.model)
    x, y = batch()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(trainer.model(x), y).item()
    trainer.mutator.attach(trainer.model)
    return loss


def expected_gradient(trainer: ProxylessTrainer) -> dict[str, torch.Tensor]:
    """Return sum_j g_j p_j (delta_ij - p_i) for the last draws, with g by central differences of the loss."""
    mutator = trainer.mutator
    gates = {}
    for choice in mutator.space.choices:
        for number, draw in enumerate(mutator.draws[choice.key]):
            for place, path in enumerate(draw.paths.tolist()):
                gates[choice.key, number, choice.rows[number][path]] = float(place == draw.active)
    step = 1e-5
    found = {}
    for choice in mutator.space.choices:
        total = torch.zeros(len(choice.rows), 3, dtype=torch.float64)
        for number, draw in enumerate(mutator.draws[choice.key]):
            paths = draw.paths.tolist()
            p = torch.softmax(mutator.logits(choice)[number].detach()[draw.paths], -1)
            for (j, path_j), (i, path_i) in itertools.product(enumerate(paths), repeat=2):
                place = (choice.key, number, choice.rows[number][path_j])
                if choice.rows[number][path_j] == "none":
                    continue  # a gate of nothing
                plus, minus = (loss_with(trainer, {**gates, place: gates[place] + sign * step}) for sign in (1, -1))
                total[number, path_i] += (plus - minus) / (2 * step) * p[j] * (float(i == j) - p[i])
        found[choice.key] = total if choice.key == "cell" else total[0]
    return found


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("gradient", ["two", "full"])
def test_the_gradient_is_that_of_the_gates(execution, gradient):
    trainer = make_trainer(execution, gradient=gradient)
    set_execution(trainer.model, Execution(optimized=execution == "optimized", min_fused_numel=0))
    for seed in range(3):
        torch.manual_seed(seed)
        found = trainer.arch_gradient(batch(), batch())
        for (key, wanted), one in zip(expected_gradient(trainer).items(), found, strict=True):
            torch.testing.assert_close(one, wanted, rtol=1e-6, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")
            if gradient == "two":
                assert ((one != 0).sum(-1) <= 2).all()


def test_both_executions_agree():
    gradients = []
    for execution in EXECUTIONS:
        trainer = make_trainer(execution, gradient="full")
        torch.manual_seed(5)
        gradients.append(trainer.arch_gradient(batch(), batch()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_of_a_linear_loss_the_mean_over_the_gates_is_the_exact_gradient():
    """With a loss linear in the gates, d/dalpha of its mean over the paths is what every sample gives."""
    trainer = make_trainer(gradient="full")
    mutator, choice = trainer.mutator, trainer.mutator.space["layer"]
    worth = {"one": 0.3, "three": -1.2, "skip": 2.0}
    alpha = mutator.alpha("layer")
    mean = sum(p * worth[name] for name, p in zip(choice.candidates, torch.softmax(alpha, -1), strict=True))
    (exact,) = torch.autograd.grad(mean, alpha)
    for _ in range(3):
        with mutator.one_sample("full"):
            gates = mutator.answer(choice)
        (one,) = torch.autograd.grad(sum(gate * worth[name] for name, gate in gates.items()), alpha)
        torch.testing.assert_close(one, exact)


def test_two_paths_leave_the_probabilities_of_the_others_as_they_were():
    trainer = make_trainer(gradient="two", arch_lr=0.5)
    before = [torch.softmax(alpha.detach(), -1) for alpha in trainer.alphas]
    trainer.update("arch", trainer.alphas, trainer.arch_gradient(batch(), batch()))
    changed = 0
    for choice, old in zip(trainer.mutator.space.choices, before, strict=True):
        new = torch.softmax(trainer.mutator.alpha(choice.key).detach(), -1).reshape(-1, 3)
        for row, old_row, draw in zip(new, old.reshape(-1, 3), trainer.mutator.draws[choice.key], strict=True):
            others = [path for path in range(3) if path not in draw.paths]
            torch.testing.assert_close(row[others], old_row[others])
            changed += not torch.equal(row, old_row)
    assert changed == len(trainer.mutator.draws["cell"]) + 1


def test_a_step_changes_the_weights_of_the_sampled_path_alone():
    trainer = make_trainer(weight_decay=0.1)
    for number in range(4):
        before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
        trainer.train_step(batch(number), None)
        opened = {(key, row, name) for key, row, name in trainer.mutator.opened()}
        for name, value in trainer.model.named_parameters():
            places = trainer._candidate_of.get(id(value))
            assert torch.equal(value, before[name]) != (places is None or bool(places & opened)), name


@pytest.mark.parametrize("form", ["product", "sum"])
def test_the_loss_with_the_expected_cost(form):
    trainer = make_trainer(gradient="full", cost="macs", reference=900.0, cost_loss=form, cost_lambda=0.7)
    assert trainer.cost is not None
    torch.manual_seed(1)
    found = trainer.arch_gradient(batch(), batch())
    gates = trainer.mutator.draws
    trainer.cost, cost = None, trainer.cost
    torch.manual_seed(1)
    plain = trainer.arch_gradient(batch(), batch())
    assert all(torch.equal(gates[key][0].paths, draws[0].paths) for key, draws in trainer.mutator.draws.items())
    loss = trainer.gradients(batch(), trainer.alphas).loss  # of another sample, for its type only
    torch.manual_seed(1)
    loss = trainer.gradients(batch(), trainer.alphas).loss
    value = cost().detach()
    if form == "product":
        total = 0.2 * loss * (value.log() / math.log(900)) ** 0.3
        factor = 0.2 * (value.log() / math.log(900)) ** 0.3
    else:
        total, factor = loss + 0.7 * (value - 900) / 900, torch.ones(())
    assert trainer.total_loss(loss, value).item() == pytest.approx(total.item(), rel=1e-12)
    step = 1e-6
    for alpha, one, other in zip(trainer.alphas, found, plain, strict=True):
        for index in range(alpha.numel()):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    alpha.view(-1)[index] += sign * step
                    values.append(trainer.total_loss(loss, cost()).item())
                    alpha.view(-1)[index] -= sign * step
            of_cost = (values[0] - values[1]) / (2 * step)
            expected = float(factor) * other.view(-1)[index].item() + of_cost
            assert one.view(-1)[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


def every_path(mutator: ProxylessMutator):
    """Yield every path of the layer choice and of the cell's edges as draws, with its log-probability."""
    rows = [(choice.key, number) for choice in mutator.space.choices for number in range(len(choice.rows))]
    example = {key: list(draws) for key, draws in mutator.draws.items()}
    for opened in itertools.product(range(3), repeat=len(rows)):
        for (key, number), active in zip(rows, opened, strict=True):
            example[key][number] = type(example[key][number])(torch.arange(3), active)
        mutator.draws = {key: list(draws) for key, draws in example.items()}
        yield opened


def test_reinforce_estimates_the_gradient_of_the_expected_reward():
    """Over all paths, the mean of (reward - baseline) d log p is the gradient of the expected reward."""
    trainer = make_trainer(gradient="reinforce", cost="macs", reference=900.0, samples=3)
    mutator, cost = trainer.mutator, trainer.cost
    mutator.resample()
    rewards, logs = [], []
    for _ in every_path(mutator):
        rewards.append((900.0 / float(cost(mutator.sampled()))) ** 0.1)
        logs.append(mutator.log_probability())
    probabilities = torch.stack(logs).exp()
    assert probabilities.sum().item() == pytest.approx(1, rel=1e-12)
    mean = (probabilities * torch.tensor(rewards, dtype=torch.float64)).sum()
    exact = torch.autograd.grad(mean, trainer.alphas, retain_graph=True)
    baseline = 0.37
    weighted = sum(p.detach() * (r - baseline) * log for p, r, log in zip(probabilities, rewards, logs, strict=True))
    for one, other in zip(torch.autograd.grad(weighted, trainer.alphas), exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)

    def replayed(seed):
        """Return the rewards and gradients of the networks that ``reinforce`` samples."""
        torch.manual_seed(seed)
        found = [
            (trainer.reward(batch()), torch.autograd.grad(mutator.log_probability(), trainer.alphas)) for _ in range(3)
        ]
        return [reward for reward, _ in found], [gradients for _, gradients in found]

    trainer.baseline.value = baseline
    rewards, gradients = replayed(3)
    torch.manual_seed(3)
    found = trainer.reinforce(batch())
    after = 0.99 * baseline + 0.01 * sum(rewards) / 3
    assert trainer.baseline.value == pytest.approx(after, rel=1e-12)
    for number, one in enumerate(found):
        expected = sum((after - reward) * each[number] for reward, each in zip(rewards, gradients, strict=True)) / 3
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-12)


def test_a_reward_is_accuracy_and_cost():
    trainer = make_trainer(gradient="reinforce", cost="macs", reference=900.0)
    x, y = batch()
    torch.manual_seed(2)
    reward = trainer.reward((x, y))
    torch.manual_seed(2)
    with torch.no_grad():
        accuracy = (trainer.model(x).argmax(-1) == y).double().mean().item()
    cost = float(trainer.cost(trainer.mutator.sampled()))
    assert reward == pytest.approx(accuracy * (900 / cost) ** 0.1, rel=1e-6)


def search(out=None, **trainer):
    options = {"epochs": 2, "warmup_epochs": 1, "batch_size": 16, "arch_every": 1, **trainer}
    return nasreg.search(
        "mobilenet",
        toy_images(64),
        "proxyless",
        out=out,
        seed=0,
        trainer=options,
        space_options={"stages": 1, "blocks": 2, "channels": 8, "kernels": [3], "head": 16},
        device="cpu",
    )


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_a_latency_is_measured_once_and_recorded(tmp_path):
    search(tmp_path / "run", reference=0.01, cost_loss="sum", max_latency_ms=0.01)
    file = tmp_path / "run/block_costs.json"
    (table,) = json.loads(file.read_text())
    layers = [block for block in table["blocks"] if block["decisions"]]
    assert [block["path"] for block in layers] == ["stages.0.module.0", "stages.0.module.1"]
    assert layers[1]["options"] == [["k3_e3", "k3_e6", "skip"]]
    assert layers[1]["costs"]["latency_ms"][2] == 0 < min(layers[1]["costs"]["latency_ms"][:2])
    found = search(None, reference=0.01, cost_loss="sum", block_costs=str(file), gradient="reinforce", samples=2)
    assert found.history[-1]["epoch"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": 0.5}, r"reference=0.5: the product divides by its logarithm"),
        ({"reference": 5.0, "block_costs": "missing.json"}, r"cannot read missing.json: No such file"),
        ({"reference": 1e12, "cost": "macs", "block_costs": __file__}, r"is no table of block costs: it is not JSON"),
        ({"gradient": "three"}, r"gradient"),
        ({"warmup_epochs": 2}, r"learn the architecture in none of its 2 epochs|no architecture parameter"),
    ],
)
def test_what_cannot_be_meant_is_one_line(options, message):
    with pytest.raises(NasregError, match=message) as caught:
        search(None, **options)
    assert "\n" not in str(caught.value)


def test_a_product_of_a_cost_below_one_is_refused():
    trainer = make_trainer(gradient="full", cost="macs", reference=900.0)
    with pytest.raises(
        ConfigError, match=r"cost_loss=product: the expected macs is 0.5, .*choose trainer.cost_loss=sum"
    ):
        trainer.total_loss(torch.ones(()), torch.tensor(0.5))


def test_preset_paper_is_the_authors_program():
    spec = resolve(Registry(), RunRequest(algorithm="proxyless", preset="paper", dataset="cifar10")).spec
    assert isinstance(spec, RunSpec)
    wanted = {
        "epochs": 40 + 120,
        "warmup_epochs": 40,
        "batch_size": 256,
        "warmup_lr": 0.05,
        "lr": 0.025,
        "lr_min": 0.0,
        "momentum": 0.9,
        "weight_decay": 4e-5,
        "label_smoothing": 0.1,
        "arch_lr": 1e-3,
        "arch_betas": [0.0, 0.999],
        "arch_weight_decay": 0.0,
        "arch_every": 5,
        "gradient": "full",
        "cost_alpha": 0.2,
        "cost_beta": 0.3,
        "cost_lambda": 0.1,
        "samples": 10,
        "baseline_decay": 0.99,
        "reward_exponent": 0.1,
    }
    assert {name: spec.trainer[name] for name in wanted} == wanted
    assert (spec.space.title, spec.mutator) == ("mobilenet", {"init_std": 1e-3, "edge_normalization": False})
