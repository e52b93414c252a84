"""Figures of ENAS: of its controllers step by step (``.npz``), and the parameters of its networks (``.json``).

The README beside the files in ``plugins/enas/tests/golden`` says what is in them. A file may have any cases: sizes of
the LSTM and its number of layers, nodes or layers of the space, numbers of operations and constants are read from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from golden_files import Arrays, Check, FileError, Strict, parsed, relative_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasreg.specs import SearchSpaceSpec
    from nasreg_enas.config import EnasMutatorConfig
    from nasreg_enas.policy import EnasPolicy

TOLERANCE = 1e-9

EPSILON = float(np.float32(1e-3))
"""Of Adam, of which TensorFlow keeps the constants in single precision."""

FLOOR = 1e-1
"""As ``relative_error``: an absolute tolerance of 1e-10 of the largest number, where the relative one is 1e-9."""

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1, le=4096)]


class Counts(Strict):
    """Numbers of parameters."""

    total_trainable_with_aux: Count
    aux_head: Count
    total_trainable_without_aux: Count
    batch_norm_trainable: Count
    by_top_scope: dict[str, Count]
    logits_shape: tuple[Size, Size]


class Network(Strict):
    """A network: of layers where it has ``num_branches``, else of cells; a supernet where it has no ``arc``."""

    arc: list[Count] | None = None
    num_layers: Annotated[int, Field(ge=1, le=100)]
    out_filters: Size
    num_branches: Annotated[int, Field(ge=1, le=6)] | None = None
    num_cells: Annotated[int, Field(ge=1, le=16)] | None = None
    counts: Counts


def recognises(content: Any) -> bool:
    """Return whether a file is in one of these formats."""
    if isinstance(content, Arrays):
        return any("/w0/controller/" in name for name in content.names)
    return isinstance(content, dict) and any(
        isinstance(each, dict) and "out_filters" in each and "counts" in each for each in content.values()
    )


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    if not isinstance(content, Arrays):
        for name, network in parsed(dict[str, Network], content).items():
            for check in _counts(network):
                yield check._replace(name=f"{name}.{check.name}")
        return
    for case in sorted({name.partition("/")[0] for name in content.names}):
        for check in _controller(content.group(case)):
            yield check._replace(name=f"{case}.{check.name}")


# Networks


def _counts(network: Network) -> Iterator[Check]:
    import torch

    with torch.device("meta"):
        model = _build(network)
    ours: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        scope = _scope(name)
        ours[scope] = ours.get(scope, 0) + parameter.numel()
    counts, auxiliary = network.counts, ours.get("aux_head", 0)
    for scope in sorted({*ours, *counts.by_top_scope}):
        yield Check(f"by_top_scope.{scope}", abs(ours.get(scope, 0) - counts.by_top_scope.get(scope, 0)), 0)
    of_norms = {p for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d) for p in each.parameters()}
    found = {
        "aux_head": auxiliary,
        "total_trainable_without_aux": sum(ours.values()) - auxiliary,
        "total_trainable_with_aux": sum(ours.values()),
        "batch_norm_trainable": sum(p.numel() for p in of_norms),
    }
    for name, value in found.items():
        yield Check(name, abs(value - getattr(counts, name)), 0)


def _scope(name: str) -> str:
    """Return the scope of the program in which a parameter is."""
    if found := re.match(r"(cells|layers|halvers)\.(\d+)\.", name):
        # layers count from 0; of the space of layers, halvers have the number of a layer from 1
        number = int(found[2]) - ("halvers" in found[1] and len(name.split(".")) > 4)
        return f"layer_{number}"
    return {"stem": "stem_conv", "classifier": "fc", "auxiliary_head": "aux_head"}[name.partition(".")[0]]


def _build(network: Network) -> nn.Module:
    """Return the supernet, or the network of an architecture, for images of 32x32 pixels."""
    from nasreg.nn import deferred_candidates, extract_space, freeze
    from nasreg.specs import DataInfo
    from nasreg_enas import macro, micro
    from nasreg_enas.config import MACRO_OPERATIONS, MacroConfig, MicroConfig
    from nasreg_enas.notation import MACRO, MICRO, parse_macro, parse_micro

    info = DataInfo(channels=3, height=32, width=32, classes=tuple(map(str, range(network.counts.logits_shape[1]))))
    phase = "search" if network.arc is None else "retrain"
    options: dict[str, Any] = {"channels": network.out_filters, "phase": phase}

    def model() -> nn.Module:
        if network.num_branches is None:
            options.update(cells=network.num_layers, nodes=network.num_cells or 5)
            return micro.build(info, MicroConfig(**options, auxiliary=network.counts.aux_head > 0))
        options.update(layers=network.num_layers, candidates=MACRO_OPERATIONS[: network.num_branches])
        return macro.build(info, MacroConfig(**options))

    if network.arc is None:
        return model()
    prefix, parse = (MICRO, parse_micro) if network.num_branches is None else (MACRO, parse_macro)
    with deferred_candidates():
        supernet = model()
        space = extract_space(supernet)
        try:
            architecture = space.architecture(parse(space, f"{prefix} {' '.join(map(str, network.arc))}"))
        except ValueError as error:
            raise FileError(f"arc: {error}") from error
        return freeze(supernet, architecture, in_place=True)


# Controllers


def _controller(arrays: Arrays) -> Iterator[Check]:
    import torch

    from nasreg.mutators import MovingBaseline
    from nasreg_enas.learner import EnasLearner, TensorflowAdam
    from nasreg_enas.policy import EnasPolicy

    constants = _Constants(arrays)
    space = constants.space()
    policy = EnasPolicy(space, constants.options()).double()
    if not policy.open_steps or len(policy.softmaxes) != 1:
        raise FileError("cfg/num_branches must be 2 or more")
    layout = _Layout(policy)
    layout.load(arrays)
    indices = _indices(arrays, policy, is_micro=constants.is_micro)
    steps = len(indices)
    correct = arrays.get("num_correct", (steps,), "i") / int(arrays.get("batch_size", (), "i"))
    theirs = {
        name: arrays.tensor(name, (steps,))
        for name in ("neg_log_prob", "entropy", "reward", "loss", "baseline_after", "lr")
    }
    if not constants.is_micro:
        theirs |= {name: arrays.tensor(name, (steps,)) for name in ("skip_count", "skip_penalty", "skip_rate")}
    power = np.float32(0.999)
    betas = (0.0, float(power))
    optimizer = TensorflowAdam(policy.parameters(), lr=float(theirs["lr"][0]), betas=betas, eps=EPSILON)
    baseline = MovingBaseline(constants["bl_dec"], order="before", start=0.0)
    weight, target = constants.get("skip_weight", 0.0), constants.get("skip_target", 0.4)
    learner = EnasLearner(policy, optimizer, baseline, skip_target=target, skip_weight=weight)

    with torch.no_grad():
        yield from _first_step(arrays, policy, indices[:1])
    skips = [place for places in policy.skips for place in places]
    for step in range(steps):
        with torch.no_grad():
            logits = policy.step_logits(indices[step : step + 1])
            drawn = policy.evaluate(indices[step : step + 1], logits)
            entropy = float(policy.entropy(drawn))
        reward = float(correct[step]) + constants.get("entropy_weight", 0.0) * entropy
        # 1 - beta2^t, where the program has the power in single precision
        correction = (1 - float(power)) / (1 - betas[1] ** (step + 1))
        optimizer.param_groups[0]["lr"] = float(theirs["lr"][step]) * correction**0.5
        power *= np.float32(0.999)
        ours = {"neg_log_prob": -drawn.log_probs.sum(), "entropy": entropy}
        if not constants.is_micro:
            taken = int(indices[step, skips].sum())
            ours |= {"skip_count": taken, "skip_rate": taken / len(skips)}
            ours["skip_penalty"] = float(policy.skip_penalty(logits, target))
        ours |= {"reward": reward, "loss": learner.update(drawn, [reward]).loss, "baseline_after": baseline.value}
        for name, value in ours.items():
            yield Check(f"{name}[{step}]", relative_error(value, theirs[name][step], floor=FLOOR), TOLERANCE)
        if step == 0:
            yield from _compared(arrays, "grad_step0", layout.read(lambda parameter: parameter.grad))
        yield from _compared(arrays, f"w_after_{step + 1}_steps", layout.read(lambda parameter: parameter.detach()))


def _compared(arrays: Arrays, group: str, ours: Mapping[str, Tensor]) -> Iterator[Check]:
    """Compare what belongs to the weights with those arrays of a group that are there."""
    if unknown := sorted(arrays.below(group) - set(ours)):
        raise FileError(f"{group}/{unknown[0]} belongs to no weight of such a controller")
    for name in sorted(arrays.below(group)):
        theirs = arrays.tensor(f"{group}/{name}", ours[name].shape)
        yield Check(f"{group}/{name}", relative_error(ours[name], theirs, floor=FLOOR), TOLERANCE)


def _first_step(arrays: Arrays, policy: EnasPolicy, indices: Tensor) -> Iterator[Check]:
    """Compare the logits of the first step; those of all inputs of a layer are one array."""
    import torch

    logits = policy.step_logits(indices)
    drawn = policy.evaluate(indices, logits)
    entropies = drawn.entropies
    if policy.config.entropy == "sampled":
        entropies = -(drawn.log_probs.exp() * drawn.log_probs)
    of_layer = {places[0]: places for places in policy.skips}
    together = {place for places in policy.skips for place in places}
    groups = [
        of_layer.get(place, [place]) for place in range(len(logits)) if place in of_layer or place not in together
    ]
    figures = {name: arrays.tensor(name, (len(groups),)) for name in ("neg_log_prob_per_step0", "entropy_per_step0")}
    for number, places in enumerate(groups):
        ours = torch.cat([logits[place] for place in places])
        theirs = arrays.tensor(f"logits_step0/{number:03}", ours.shape)
        yield Check(f"logits_step0/{number:03}", relative_error(ours, theirs, floor=FLOOR), TOLERANCE)
    per_step = {"neg_log_prob_per_step0": -drawn.log_probs, "entropy_per_step0": entropies}
    for name, values in per_step.items():
        sums = torch.stack([values[0, places].sum() for places in groups])
        yield Check(name, relative_error(sums, figures[name], floor=FLOOR), TOLERANCE)


def _indices(arrays: Arrays, policy: EnasPolicy, *, is_micro: bool) -> Tensor:
    """Return the decisions of each step in the order of the policy, ``(steps, D)``."""
    import torch

    counts = torch.tensor([policy.n_options[number] for number in policy.open_steps])
    indices = torch.from_numpy(arrays.get("arcs", (None, len(counts)), "i").astype("int64"))
    if is_micro:  # source and operation of a slot, then of the other
        indices = indices.reshape(len(indices), -1, 2, 2).transpose(2, 3).reshape(len(indices), -1)
    if bool((indices < 0).any()) or bool((indices >= counts).any()):
        raise FileError("arcs has numbers of no operation, no state, or neither 0 nor 1 for a connection")
    return indices


class _Constants:
    """The constants of a case, in ``cfg``.

    Args:
        arrays: The case.
    """

    def __init__(self, arrays: Arrays) -> None:
        self._values = {name: float(arrays.tensor(f"cfg/{name}", ())) for name in arrays.below("cfg")}
        self.is_micro = "num_cells" in self._values
        if self.get("l2_reg", 0.0) or self.get("lstm_keep_prob", 1.0) != 1:
            raise FileError("cfg has an l2_reg or a dropout, which the controller does not have")

    def get(self, name: str, default: float) -> float:
        """Return a constant, or a default where it is missing."""
        return self._values.get(name, default)

    def __getitem__(self, name: str) -> float:
        if name not in self._values:
            raise FileError(f"it lacks the array cfg/{name}")
        return self._values[name]

    def size(self, name: str, largest: int = 4096) -> int:
        """Return a constant that is a size."""
        value = self[name]
        if not 1 <= value <= largest or value != int(value):
            raise FileError(f"cfg/{name} is {value:g}, expected a whole number from 1 to {largest}")
        return int(value)

    def options(self) -> EnasMutatorConfig:
        """Return the options of the controller."""
        from nasreg_enas.config import EnasMutatorConfig

        return EnasMutatorConfig(
            hidden=self.size("lstm_size"),
            lstm_layers=self.size("lstm_num_layers", 16),
            temperature=self.get("temperature", 1.0),
            tanh_constant=self._values.get("tanh_constant"),
            op_tanh_reduce=self["op_tanh_reduce"] if self.is_micro else 1.0,
            favoured=("op0", "op1"),
            learned_bias=10.0 if self.is_micro else None,
            fixed_bias=0.25 if self.is_micro else 0.0,
            entropy="full" if self.is_micro else "sampled",
        )

    def space(self) -> SearchSpaceSpec:
        """Return the search space."""
        from nasreg.specs import CellSpec, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec

        operations = tuple(f"op{number}" for number in range(self.size("num_branches", 64)))
        if self.is_micro:
            nodes = self.size("num_cells", 64)
            edges = sum(2 * (2 + node) for node in range(nodes))
            cells = [
                CellSpec(
                    key=key,
                    inputs=2,
                    nodes=nodes,
                    candidates=(operations,) * edges,
                    repeat_sources=True,
                    concat=tuple(range(nodes + 2)),
                    loose_ends=True,
                    reduction=key == "reduce",
                )
                for key in ("normal", "reduce")
            ]
            return SearchSpaceSpec(choices=tuple(cells))
        choices: list[Any] = []
        for number in range(1, self.size("num_layers", 100) + 1):
            choices.append(LayerChoiceSpec(key=f"op{number}", candidates=operations))
            if number > 1:
                names = tuple(map(str, range(number - 1)))
                choices.append(InputChoiceSpec(key=f"skip{number}", candidates=names, n_chosen=None))
        return SearchSpaceSpec(choices=tuple(choices))


class _Layout:
    """The weights of a controller as the program has them.

    Args:
        policy: The controller.
    """

    def __init__(self, policy: EnasPolicy) -> None:
        self._policy = policy
        [softmax] = policy.softmaxes
        self._plain: dict[str, Any] = {
            "controller/g_emb": policy.first,
            "controller/attention/w_1": policy.attention_1,
            "controller/attention/w_2": policy.attention_2,
            "controller/attention/v": policy.attention_v,
            "controller/emb/w": softmax.embedding,
            "controller/softmax/w": softmax.weight,
        }
        self._bias: Any = softmax.bias

    def read(self, value: Callable[[Any], Any]) -> dict[str, Tensor]:
        """Return what belongs to each weight, such as its gradient."""
        import torch

        found: dict[str, Tensor] = {name: value(parameter) for name, parameter in self._plain.items()}
        if self._bias is not None:
            found["controller/softmax/b"] = value(self._bias)[None]
        for number, cell in enumerate(self._policy.lstm):
            both = torch.cat([value(cell.weight_ih), value(cell.weight_hh)], 1).T
            i, f, g, o = both.chunk(4, 1)
            found[f"controller/lstm/layer_{number}/w"] = torch.cat([i, f, o, g], 1)
        return found

    def load(self, arrays: Arrays) -> None:
        """Set the weights to those before the first step."""
        import torch

        wanted = {name: tuple(value.shape) for name, value in self.read(lambda parameter: parameter).items()}
        found = {name: arrays.tensor(f"w0/{name}", shape) for name, shape in wanted.items()}
        if unknown := sorted(arrays.below("w0") - set(wanted)):
            raise FileError(f"w0/{unknown[0]} belongs to no weight of such a controller")
        with torch.no_grad():
            for name, parameter in self._plain.items():
                parameter.copy_(found[name])
            if self._bias is not None:
                self._bias.copy_(found["controller/softmax/b"][0])
            for number, cell in enumerate(self._policy.lstm):
                i, f, o, g = found[f"controller/lstm/layer_{number}/w"].chunk(4, 1)
                both = torch.cat([i, f, g, o], 1).T
                cell.weight_ih.copy_(both[:, : self._policy.hidden])
                cell.weight_hh.copy_(both[:, self._policy.hidden :])
