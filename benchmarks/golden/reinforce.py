"""Traces of REINFORCE on the table of NAS-Bench-201: draws, rewards, baseline, gradient and step by step the policy.

The README beside the file in ``plugins/nasnet/tests/golden`` says what is in it. A file may have several traces, of any
length, with any learning rate, baseline and Adam; the values of theta at the start are read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from golden_files import Check, FileError, Strict, parsed

if TYPE_CHECKING:
    from nasreg.specs import SearchSpaceSpec

TOLERANCE = 1e-10

SPACE = "nasbench201"

Row = Annotated[list[float], Field(min_length=5, max_length=5)]
Table = Annotated[list[Row], Field(min_length=6, max_length=6)]
Uniforms = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=6, max_length=6)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Step(Strict):
    """What the program has after a step."""

    key: str
    reward: float
    baseline_after_update: float
    log_prob_sum: float
    loss: float
    grad: Table
    theta_after: Table


class Trace(Strict):
    """One search."""

    lr: Annotated[float, Field(gt=0)]
    ema_momentum: Decay
    adam: tuple[Decay, Decay, Annotated[float, Field(gt=0)]]
    theta0: Table
    uniforms: Annotated[list[Uniforms], Field(min_length=1)]
    steps: Annotated[list[Step], Field(min_length=1)]


class Traces(Strict):
    """``nb201_reinforce_trace.json``."""

    traces: Annotated[list[Trace], Field(min_length=1)]


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    traces = content.get("traces") if isinstance(content, dict) else None
    return isinstance(traces, list) and any(isinstance(each, dict) and "theta0" in each for each in traces)


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    form: Traces = parsed(Traces, content)

    from nasreg.config.lookup import find_space
    from nasreg.networks.references import describe_space
    from nasreg.registry import default_registry

    space = describe_space(find_space(default_registry(), SPACE), {})
    for number, trace in enumerate(form.traces):
        if len(trace.uniforms) != len(trace.steps):
            raise FileError(f"traces[{number}] has {len(trace.uniforms)} rows of uniforms for {len(trace.steps)} steps")
        for check in _trace(space, trace):
            yield check._replace(name=f"traces[{number}].{check.name}")


def _trace(space: SearchSpaceSpec, trace: Trace) -> Iterator[Check]:
    import torch

    from nasreg.mutators import MovingBaseline, PolicyGradient, TabularPolicy
    from nasreg_nasbench201.strings import architecture_key

    policy = TabularPolicy(space)
    policy.theta.data.copy_(torch.tensor(trace.theta0, dtype=torch.float64))
    optimizer = torch.optim.Adam(policy.parameters(), lr=trace.lr, betas=trace.adam[:2], eps=trace.adam[2])
    baseline = MovingBaseline(trace.ema_momentum, order="before", bias_correction=True)
    learner = PolicyGradient(policy, optimizer, baseline)
    for number, (uniforms, step) in enumerate(zip(trace.uniforms, trace.steps, strict=True)):
        with torch.no_grad():
            drawn = policy.sample(torch.tensor([uniforms], dtype=torch.float64))
        [architecture] = policy.architectures(drawn.indices)
        yield Check(f"steps[{number}].key", int(architecture_key(architecture) != step.key), 0)
        update = learner.update(drawn, [step.reward])
        ours = {
            "baseline_after_update": [baseline.value],
            "log_prob_sum": [float(drawn.log_probs.sum())],
            "loss": [update.loss],
            "grad": [] if policy.theta.grad is None else policy.theta.grad.flatten().tolist(),
            "theta_after": policy.theta.detach().flatten().tolist(),
        }
        for name, values in ours.items():
            yield Check(f"steps[{number}].{name}", _error(values, _flat(getattr(step, name))), TOLERANCE)


def _flat(value: float | Sequence[Sequence[float]]) -> list[float]:
    return [value] if isinstance(value, float) else [number for row in value for number in row]


def _error(ours: Sequence[Any], theirs: Sequence[float]) -> float:
    """Return the largest error, relative to the largest number or to 1 where that is smaller."""
    scale = max(1.0, *map(abs, theirs))
    return max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) / scale
