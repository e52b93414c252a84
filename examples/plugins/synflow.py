"""SynFlow as an evaluator: a score of an untrained network, without a single label.

Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively conserving synaptic flow, arXiv
2006.05467; as a score of architectures: Abdelfattah et al., arXiv 2101.08134. All weights are replaced by their
absolute values, the input is an image of ones, R is the sum of the outputs, and SynFlow is the sum of w * dR/dw over
all weights w. It grows by orders of magnitude with the depth: the score is its logarithm, in double precision.
BatchNorm is in evaluation mode, in which that of a new network is all but the identity. Of the data set only the shape
of the images and the number of classes matter.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import torch
from torch import nn

import nasreg
from nasreg.evaluators import Evaluator
from nasreg.hookspecs import hookimpl
from nasreg.specs import DataInfo, EvaluatorSpec, MetricSpec, PluginInfo, Proposal, Score


def synflow(network: nn.Module, info: DataInfo, device: torch.device) -> float:
    """Return the logarithm of a network's SynFlow; its weights are changed."""
    network = network.to(device, torch.float64).eval()
    weights = list(network.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    ones = torch.ones(1, info.channels, info.height, info.width, dtype=torch.float64, device=device)
    gradients = torch.autograd.grad(network(ones).sum(), weights, materialize_grads=True, allow_unused=True)
    flows = [(weight.detach() * gradient).sum() for weight, gradient in zip(weights, gradients, strict=True)]
    return float(torch.stack(flows).sum().log())


class SynFlow(Evaluator):
    objective = MetricSpec(name="synflow", title="log SynFlow")

    def evaluate(self, proposal: Proposal) -> Score:
        network = self.context.build_network(proposal.architecture)
        return self.score(synflow(network, self.context.info, self.context.device))


@hookimpl
def nasreg_plugin() -> PluginInfo:
    return PluginInfo(api=2)


@hookimpl
def nasreg_evaluators() -> Iterable[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="synflow",
            summary="SynFlow of the untrained network, a score without training",
            paper="Tanaka et al.: Pruning neural networks without any data by iteratively conserving synaptic flow,"
            " https://arxiv.org/abs/2006.05467",
            factory=SynFlow,
            needs=frozenset({"data", "network"}),
        )
    ]


if __name__ == "__main__":
    nasreg.register(sys.modules[__name__])
    result = nasreg.search(
        "chain",
        "digits",
        "random",
        evaluator="synflow",
        trainer={"max_trials": 20},
        space_options={"channels": 4},
        seed=0,
    )
    done = [trial for trial in result.trials if trial["status"] == "done"]
    for trial in sorted(done, key=lambda trial: -trial["score"])[:5]:
        print(f"{trial['trial']:2}  log SynFlow {trial['score']:.2f}")
    print(result.architecture.decisions)
