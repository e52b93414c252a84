"""The controller of ENAS (Pham et al., arXiv 1802.03268), of ``micro_controller.py`` and ``general_controller.py``.

An LSTM decides step by step. An operation, a value or a depth has a softmax, shared by all steps with the same options;
the LSTM then reads a vector learned for the option taken. A source is found by attention: with the hidden state h, each
earlier node or layer j, whose anchor is its hidden state h_j, has the logit ``v . tanh(W1 h_j + W2 h)``. In a cell it
is a softmax over these, and the LSTM then reads the anchor that was taken. The inputs of a layer that may have any
number of them are each taken or left, with logits ``[-q, q]``, and the LSTM then reads the sum of the anchors taken
over their number plus one.

What differs from the programs: the steps are those of whatever space is searched, and a step with one option is none.
In a space without choices of inputs, the LSTM goes from one choice straight to the next. An input choice with more
inputs than there are layers before it, such as a stem, has an anchor of zeros for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from nasreg.mutators import Rollouts, SequentialPolicy, bounded
from nasreg.specs import CellSpec, InputChoiceSpec, SearchSpaceSpec
from nasreg_enas.config import EnasMutatorConfig


@dataclass
class Memory:
    """What the controller keeps of the decisions so far, of B architectures."""

    input: Tensor
    """What the LSTM reads next, ``(B, H)``."""
    states: list[tuple[Tensor, Tensor]]
    """Hidden and cell state of each layer, ``(B, H)``."""
    anchors: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    """W1 times the hidden state of each anchor."""
    taken: list[Tensor] = field(default_factory=list)
    """Which inputs of the present choice are taken, ``(B,)`` each."""

    @property
    def hidden(self) -> Tensor:
        """The hidden state of the last layer."""
        return self.states[-1][0]


Action = Callable[[Memory], None]


class Softmax(nn.Module):
    """The softmax of steps with the same options, and the vectors that the LSTM reads for them.

    Args:
        options: Names of the options.
        hidden: Size of the LSTM.
        config: Options.

    Attributes:
        fixed: What is added to the bounded logits, outside of reduction cells.
    """

    fixed: Tensor

    def __init__(self, options: Sequence[str], hidden: int, config: EnasMutatorConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden, len(options)))
        self.embedding = nn.Parameter(torch.empty(len(options), hidden))
        for parameter in (self.weight, self.embedding):
            nn.init.uniform_(parameter, -config.init_range, config.init_range)
        favoured = torch.tensor([name in config.favoured for name in options])
        learned = favoured * (config.learned_bias or 0.0)
        self.bias = None if config.learned_bias is None else nn.Parameter(learned)
        fixed = torch.where(favoured, config.fixed_bias, -config.fixed_bias) if favoured.any() else torch.zeros(())
        self.register_buffer("fixed", fixed, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """Return the logits ``(B, options)`` for hidden states ``(B, H)``."""
        logits = h @ self.weight
        return logits if self.bias is None else logits + self.bias


class Rule:
    """How a step is decided.

    Args:
        softmax: Its softmax, where it has one.
        reduction: Whether it is in a reduction cell.
        anchors: The anchors that its options stand for, else; those counted from the end are negative.
        bit: Whether it takes or leaves the one anchor.
    """

    def __init__(
        self,
        softmax: Softmax | None = None,
        *,
        reduction: bool = False,
        anchors: Sequence[int] = (),
        bit: bool = False,
    ) -> None:
        self.softmax = softmax
        self.reduction = reduction
        self.anchors = anchors
        self.bit = bit


class EnasPolicy(SequentialPolicy):
    """The controller.

    Args:
        space: The search space.
        config: Options.

    Attributes:
        skips: For each choice of any number of inputs, the places of its decisions among ``open_steps``.
    """

    def __init__(self, space: SearchSpaceSpec, config: EnasMutatorConfig) -> None:
        super().__init__(space)
        self.config = config
        self.hidden = hidden = config.hidden
        self.first = nn.Parameter(torch.empty(1, hidden))
        self.lstm = nn.ModuleList(nn.LSTMCell(hidden, hidden, bias=False) for _ in range(config.lstm_layers))
        self.attention_1 = nn.Parameter(torch.empty(hidden, hidden))
        self.attention_2 = nn.Parameter(torch.empty(hidden, hidden))
        self.attention_v = nn.Parameter(torch.empty(hidden, 1))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -config.init_range, config.init_range)
        self.softmaxes = nn.ModuleList()
        self._known: dict[tuple[str, ...], Softmax] = {}
        self.skips: list[list[int]] = []
        self._rules: list[Rule] = []
        self._before: list[list[Action]] = []
        """What happens before each decision, after the one before it."""
        self._lay_out()

    # -- the order of what happens -------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        numbers = iter(range(len(self.n_options)))
        pending: list[Action] = []
        choices = self.space.choices
        has_inputs = any(isinstance(choice, InputChoiceSpec) for choice in choices)

        def decide(rule: Rule, *actions: Action) -> None:
            self._rules.append(rule)
            self._before.append([*pending, *actions])
            pending.clear()

        for choice, after in zip(choices, [*choices[1:], None], strict=True):
            steps = [(step, number in self.open_steps) for step, number in zip(choice.steps, numbers, strict=False)]
            match choice:
                case CellSpec():
                    pending.append(partial(self._begin_cell, choice.inputs))
                    remaining = iter(steps)
                    for node in range(choice.nodes):
                        for step, is_open in (next(remaining) for _ in range(2 * choice.kept(node))):
                            if is_open and step.kind == "source":
                                decide(Rule(anchors=[int(name) for name in step.options]), self._advance)
                            elif is_open:
                                softmax = self._softmax(step.options)
                                decide(Rule(softmax, reduction=choice.reduction), self._advance)
                        pending.append(self._anchor)
                case InputChoiceSpec():
                    places = {name: at - len(choice.candidates) for at, name in enumerate(choice.candidates)}
                    pending.append(partial(self._pad, len(choice.candidates)))
                    is_any = choice.n_chosen is None
                    bits = [len(self._rules) + number for number, _ in enumerate(s for s in steps if s[1])]
                    for number, (step, is_open) in enumerate(steps):
                        if is_open and is_any:
                            lead = [] if number else [self._advance]
                            decide(Rule(anchors=[places[choice.candidates[number]]], bit=True), *lead)
                        elif is_open:
                            decide(Rule(anchors=[places[name] for name in step.options]), self._advance)
                    if is_any and bits:
                        self.skips.append(bits)
                        pending.append(self._close)
                    else:
                        pending.append(self._anchor)
                case _:
                    for step, is_open in steps:
                        if is_open:
                            decide(Rule(self._softmax(step.options)), self._advance)
                    if has_inputs and not isinstance(after, InputChoiceSpec):
                        pending.append(self._anchor)

    def _softmax(self, options: tuple[str, ...]) -> Softmax:
        if options not in self._known:
            self._known[options] = Softmax(options, self.hidden, self.config)
            self.softmaxes.append(self._known[options])
        return self._known[options]

    # -- what happens --------------------------------------------------------------------------------------------------

    def _advance(self, memory: Memory) -> None:
        """Do a step of the LSTM."""
        x = memory.input
        states = []
        for cell, state in zip(self.lstm, memory.states, strict=True):
            states.append(cell(x, state))
            x = states[-1][0]
        memory.states = states

    def _begin_cell(self, inputs: int, memory: Memory) -> None:
        """Give each input of a cell an anchor of zeros, with the key of a step of its own."""
        memory.anchors, memory.keys = [], []
        for _ in range(inputs):
            self._advance(memory)
            memory.anchors.append(torch.zeros_like(memory.hidden))
            memory.keys.append(memory.hidden @ self.attention_1)

    def _anchor(self, memory: Memory) -> None:
        """End a node or layer: the hidden state is its anchor."""
        self._advance(memory)
        self._keep(memory)
        memory.input = self.first.expand_as(memory.hidden)

    def _close(self, memory: Memory) -> None:
        """End the choice of any number of inputs: what was taken is read next, and the layer gets its anchor."""
        taken = torch.stack(memory.taken, 1).to(self.first.dtype)
        chosen = torch.stack(memory.anchors[-len(memory.taken) :], 1)
        memory.input = (taken[..., None] * chosen).sum(1) / (1 + taken.sum(1, keepdim=True))
        memory.taken = []
        self._keep(memory)

    def _keep(self, memory: Memory) -> None:
        memory.anchors.append(memory.hidden)
        memory.keys.append(memory.hidden @ self.attention_1)

    def _pad(self, n: int, memory: Memory) -> None:
        """Make sure that there are so many anchors."""
        zeros = [torch.zeros_like(memory.hidden)] * (n - len(memory.anchors))
        memory.anchors, memory.keys = [*zeros, *memory.anchors], [*zeros, *memory.keys]

    # -- decisions -----------------------------------------------------------------------------------------------------

    def start(self, n: int) -> Memory:
        """Return the memory before the first decision of ``n`` architectures."""
        first = self.first.expand(n, -1)
        zeros = torch.zeros_like(first)
        memory = Memory(first, [(zeros, zeros)] * len(self.lstm))
        self._prepare(0, memory)
        return memory

    def _prepare(self, place: int, memory: Memory) -> None:
        for act in self._before[place] if place < len(self._before) else ():
            act(memory)

    def logits(self, place: int, state: Memory) -> Tensor:
        """Return the logits of a decision."""
        rule, config, h = self._rules[place], self.config, state.hidden
        if rule.softmax is not None:
            bound = None if config.tanh_constant is None else config.tanh_constant / config.op_tanh_reduce
            logits = bounded(rule.softmax(h), config.temperature, bound)
            return logits if rule.reduction else logits + rule.softmax.fixed
        keys = torch.stack([state.keys[number] for number in rule.anchors], 1)
        query = (torch.tanh(keys + (h @ self.attention_2)[:, None]) @ self.attention_v)[..., 0]
        return bounded(torch.cat([-query, query], 1) if rule.bit else query, config.temperature, config.tanh_constant)

    def take(self, place: int, indices: Tensor, state: Memory) -> Memory:
        """Note the options taken, and go on to the next decision."""
        rule = self._rules[place]
        if rule.bit:
            state.taken.append(indices)
        elif rule.softmax is not None:
            state.input = rule.softmax.embedding[indices]
        else:
            anchors = torch.stack([state.anchors[number] for number in rule.anchors], 1)
            state.input = anchors[torch.arange(len(indices)), indices]
        self._prepare(place + 1, state)
        return state

    # -- what is learned from ------------------------------------------------------------------------------------------

    def entropy(self, drawn: Rollouts) -> Tensor:
        """Return the entropy of each architecture's decisions, ``(B,)``, in the form that the options say."""
        if self.config.entropy == "full":
            return drawn.entropies.sum(1)
        return -(drawn.log_probs.exp() * drawn.log_probs).sum(1)

    def skip_penalty(self, logits: Sequence[Tensor], target: float) -> Tensor:
        """Return how far the probabilities of skip connections are from a wanted one, ``(B,)``.

        It is the mean over choices of any number of inputs of ``sum(s * log(s / t))``, where s are the sigmoids of both
        logits of each input, and t is the wanted probability of it.

        Args:
            logits: Those of all decisions.
            target: The wanted probability that an input is taken.
        """
        if not self.skips:
            return self.first.new_zeros(())
        wanted = self.first.new_tensor([1 - target, target])
        each = []
        for places in self.skips:
            s = torch.sigmoid(torch.stack([logits[place] for place in places], 1))
            each.append((s * torch.log(s / wanted)).sum((1, 2)))
        return torch.stack(each).mean(0)
