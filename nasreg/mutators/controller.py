"""Building blocks of controllers: policies that decide an architecture step by step, each step with a softmax.

The steps are those of the search space (``SearchSpaceSpec.steps``), so that a policy is written once for all spaces.
``TabularPolicy`` has logits of its own for each step, whatever was decided before (as the REINFORCE of NATS-Bench, Dong
et al., arXiv 2009.00437); ``RecurrentPolicy`` is an LSTM that is told each decision (as the controller of NASNet, Zoph
et al., arXiv 1707.07012). Another one, such as that of ENAS with its attention over earlier nodes, derives from
``SequentialPolicy``. ``nasreg.mutators.policy_gradient`` has what trains them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.specs.architecture import Architecture
from nasreg.specs.space import SearchSpaceSpec


class Rollouts(NamedTuple):
    """Architectures as a policy decides them: B of them, each in D decisions."""

    indices: Tensor
    """The option taken at each step that is open, ``(B, D)``, see ``Policy.open_steps``."""
    log_probs: Tensor
    """The logarithm of its probability, ``(B, D)``."""
    entropies: Tensor
    """The entropy of the softmax that it was drawn from, in nats, ``(B, D)``."""


class Policy(nn.Module, ABC):
    """A distribution over the architectures of a space, as a product of softmaxes, one for each step.

    Args:
        space: The search space.

    Attributes:
        open_steps: The numbers of the steps with several options, in order; nothing is decided at the others.
        independent: Whether the options that are allowed at a step never depend on those taken before.
    """

    def __init__(self, space: SearchSpaceSpec) -> None:
        super().__init__()
        self.space = space
        self.n_options = tuple(len(step.options) for step in space.steps)
        self.open_steps = tuple(number for number, options in enumerate(self.n_options) if options > 1)
        # each allowed path is one architecture, so that there are as many only where every path is allowed
        self.independent = math.prod(self.n_options) == space.size()

    @abstractmethod
    def forward(self, indices: Tensor) -> Rollouts:
        """Evaluate decisions ``(B, D)``: gradients flow through log-probabilities and entropies."""

    @abstractmethod
    def sample(self, uniforms: Tensor) -> Rollouts:
        """Draw architectures, by inverting the cumulative probabilities of each step.

        Args:
            uniforms: Numbers in [0, 1), ``(B, D)``: one for each decision. Option k is taken where k is the number of
                cumulative probabilities that are not above it.
        """

    def draw(self, n: int) -> Rollouts:
        """Draw architectures with torch's generator.

        Args:
            n: How many.
        """
        return self.sample(torch.rand(n, len(self.open_steps), dtype=torch.float64))

    def architectures(self, indices: Tensor) -> list[Architecture]:
        """Return the architectures that decisions ``(B, D)`` make."""
        return [self.space.architecture_of(self.path(row)) for row in indices.tolist()]

    def indices(self, architectures: Sequence[Architecture]) -> Tensor:
        """Return the decisions ``(B, D)`` that make architectures, the inverse of ``architectures``.

        Raises:
            ArchitectureError: One does not belong to the space.
        """
        paths = [self.space.indices_of(architecture) for architecture in architectures]
        rows = [[path[number] for number in self.open_steps] for path in paths]
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), len(self.open_steps))

    def path(self, taken: Sequence[int]) -> list[int]:
        """Return the index at each of the first steps of the space, given those of the first open steps."""
        end = self.open_steps[len(taken)] if len(taken) < len(self.open_steps) else len(self.n_options)
        path = [0] * end
        for number, index in zip(self.open_steps, taken, strict=False):
            path[number] = index
        return path

    def allowed(self, place: int, taken: Tensor) -> Tensor | None:
        """Return which options are allowed at an open step, ``(B, options)``, after decisions ``(B, place)``.

        Returns:
            None where all of them always are.
        """
        if self.independent:
            return None
        mask = torch.zeros(len(taken), self.n_options[self.open_steps[place]], dtype=torch.bool)
        for row, before in enumerate(taken.tolist()):
            mask[row, list(self.space.allowed(self.path(before)))] = True
        return mask


class SequentialPolicy(Policy):
    """A policy that decides one step after the other.

    A subclass says what the logits of a step are, given a state that it keeps of the decisions before: any object, with
    tensors of B rows in it.
    """

    @abstractmethod
    def start(self, n: int) -> Any:
        """Return the state before the first decision of ``n`` architectures."""

    @abstractmethod
    def logits(self, place: int, state: Any) -> Tensor:
        """Return the logits ``(B, options)`` of an open step, the one of that place in ``open_steps``."""

    @abstractmethod
    def take(self, place: int, indices: Tensor, state: Any) -> Any:
        """Return the state after the options ``(B,)`` were taken at an open step."""

    def forward(self, indices: Tensor) -> Rollouts:
        """Evaluate decisions ``(B, D)``."""
        return self.evaluate(indices, self.step_logits(indices))

    def step_logits(self, indices: Tensor) -> list[Tensor]:
        """Return the logits ``(B, options)`` of each decision, on the way of decisions ``(B, D)``."""
        state = self.start(len(indices))
        logits = []
        for place in range(len(self.open_steps)):
            logits.append(self.logits(place, state))
            state = self.take(place, indices[:, place], state)
        return logits

    def evaluate(self, indices: Tensor, logits: Sequence[Tensor]) -> Rollouts:
        """Return what ``forward`` does, given the logits of the steps."""
        if not logits:
            return self._nothing(len(indices))
        width = max(each.shape[-1] for each in logits)
        padded = torch.stack([F.pad(each, (0, width - each.shape[-1])) for each in logits], 1)
        logs, entropies = log_softmax(padded, self._allowed_at_all(indices, width))
        return Rollouts(indices, logs.gather(-1, indices[..., None])[..., 0], entropies)

    def sample(self, uniforms: Tensor) -> Rollouts:
        """Draw architectures; see ``Policy.sample``."""
        state = self.start(len(uniforms))
        taken = torch.empty(len(uniforms), len(self.open_steps), dtype=torch.int64)
        log_probs: list[Tensor] = []
        entropies: list[Tensor] = []
        for place in range(len(self.open_steps)):
            logs, entropy = log_softmax(self.logits(place, state), self.allowed(place, taken[:, :place]))
            taken[:, place] = index = invert(logs, uniforms[:, place])
            log_probs.append(logs.gather(-1, index[:, None])[:, 0])
            entropies.append(entropy)
            state = self.take(place, index, state)
        if not log_probs:
            return self._nothing(len(uniforms))
        return Rollouts(taken, torch.stack(log_probs, 1), torch.stack(entropies, 1))

    def _allowed_at_all(self, indices: Tensor, width: int) -> Tensor | None:
        """Return which options are allowed at all open steps, ``(B, D, width)``; None where all are."""
        counts = [self.n_options[number] for number in self.open_steps]
        if self.independent and min(counts) == width:
            return None
        mask = (torch.arange(width) < torch.tensor(counts)[:, None]).repeat(len(indices), 1, 1)
        for place, count in enumerate(counts):
            if (allowed := self.allowed(place, indices[:, :place])) is not None:
                mask[:, place, :count] = allowed
        return mask

    def _nothing(self, n: int) -> Rollouts:
        nothing = torch.zeros(n, 0)
        return Rollouts(nothing.long(), nothing, nothing)


class TabularPolicy(SequentialPolicy):
    """Holds a row of logits for each step: the steps are independent, but for what the space allows.

    Args:
        space: The search space.
        init_std: Standard deviation of the logits at the start.
        dtype: Type of the logits.

    Attributes:
        theta: The logits, ``(D, options)``; where a step has fewer options, the last columns are unused.
    """

    def __init__(self, space: SearchSpaceSpec, *, init_std: float = 1e-3, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(space)
        counts = [self.n_options[number] for number in self.open_steps]
        width = max(counts, default=1)
        self.theta = nn.Parameter(init_std * torch.randn(len(counts), width, dtype=dtype))
        used = torch.arange(width) < torch.tensor(counts, dtype=torch.int64)[:, None]
        self._used = None if len(set(counts)) <= 1 else used.reshape(self.theta.shape)

    def start(self, n: int) -> int:
        """Return the number of architectures."""
        return n

    def logits(self, place: int, state: int) -> Tensor:
        """Return a row of the table, as often as there are architectures."""
        return self.theta[place, : self.n_options[self.open_steps[place]]].expand(state, -1)

    def take(self, place: int, indices: Tensor, state: int) -> int:
        """Return the state as it is."""
        del place, indices
        return state

    def forward(self, indices: Tensor) -> Rollouts:
        """Evaluate decisions ``(B, D)``."""
        if not self.independent:
            return super().forward(indices)
        return self._rollouts(indices, *log_softmax(self.theta, self._used))

    def sample(self, uniforms: Tensor) -> Rollouts:
        """Draw architectures; see ``Policy.sample``."""
        if not self.independent:
            return super().sample(uniforms)
        logs, entropies = log_softmax(self.theta, self._used)
        return self._rollouts(invert(logs, uniforms), logs, entropies)

    @staticmethod
    def _rollouts(indices: Tensor, logs: Tensor, entropies: Tensor) -> Rollouts:
        chosen = logs.expand(len(indices), -1, -1).gather(-1, indices[..., None])[..., 0]
        return Rollouts(indices, chosen, entropies.expand(len(indices), -1))


class RecurrentPolicy(SequentialPolicy):
    """An LSTM with a softmax for each step; its input is the decision before, as a vector that is learned.

    A subclass may share softmaxes and vectors among steps.

    Args:
        space: The search space.
        hidden: Size of the LSTM.
        init_range: Parameters are drawn uniformly from [-init_range, init_range].
        temperature: What logits are divided by.
        tanh_constant: Bound of the logits; None for none. See ``bounded``.
    """

    def __init__(
        self,
        space: SearchSpaceSpec,
        *,
        hidden: int = 100,
        init_range: float = 0.1,
        temperature: float = 1.0,
        tanh_constant: float | None = None,
    ) -> None:
        super().__init__(space)
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        counts = [self.n_options[number] for number in self.open_steps]
        self.first = nn.Parameter(torch.empty(1, hidden))
        self.lstm = nn.LSTMCell(hidden, hidden)
        self.heads = nn.ModuleList(nn.Linear(hidden, count) for count in counts)
        self.embeddings = nn.ModuleList(nn.Embedding(count, hidden) for count in counts[:-1])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init_range, init_range)

    def start(self, n: int) -> tuple[Tensor, Tensor]:
        """Return hidden and cell state, ``(n, hidden)`` each, after the first input."""
        first: tuple[Tensor, Tensor] = self.lstm(self.first.expand(n, -1))
        return first

    def logits(self, place: int, state: tuple[Tensor, Tensor]) -> Tensor:
        """Return the logits of a step."""
        return bounded(self.heads[place](state[0]), self.temperature, self.tanh_constant)

    def take(self, place: int, indices: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the states after the options were told to the LSTM."""
        if place == len(self.embeddings):
            return state
        after: tuple[Tensor, Tensor] = self.lstm(self.embeddings[place](indices), state)
        return after


def bounded(logits: Tensor, temperature: float = 1.0, tanh_constant: float | None = None) -> Tensor:
    """Return ``tanh_constant * tanh(logits / temperature)``, or without a constant ``logits / temperature``.

    It keeps a controller from becoming certain too early (Bello et al., arXiv 1611.09940, as in ENAS).
    """
    logits = logits if temperature == 1 else logits / temperature
    return logits if tanh_constant is None else tanh_constant * torch.tanh(logits)


def log_softmax(logits: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the probabilities of options, and the entropy of each row.

    Args:
        logits: ``(..., options)``.
        allowed: Which options are possible, ``(..., options)``; None for all. Those that are not have probability 0.

    Returns:
        Logarithms ``(..., options)`` and entropies ``(...)``.
    """
    if allowed is None:
        logs = torch.log_softmax(logits, -1)
        return logs, -(logs.exp() * logs).sum(-1)
    logs = torch.log_softmax(logits.masked_fill(~allowed, -math.inf), -1)
    return logs, -(logs.exp() * logs.masked_fill(~allowed, 0.0)).sum(-1)


@torch.no_grad()
def invert(logs: Tensor, uniforms: Tensor) -> Tensor:
    """Return the options that uniform numbers draw: how many cumulative probabilities are not above the number.

    Rounding cannot take an option of probability 0.

    Args:
        logs: Logarithms of the probabilities, ``(..., options)``.
        uniforms: Numbers in [0, 1), ``(...)`` with any dimensions in front.
    """
    cumulative = logs.double().exp().cumsum(-1)
    cumulative[cumulative >= cumulative[..., -1:]] = math.inf  # from the last possible option on
    bounds = cumulative.expand(*uniforms.shape, -1).contiguous()
    return torch.searchsorted(bounds, uniforms[..., None].contiguous(), right=True)[..., 0]
