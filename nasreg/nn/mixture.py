"""The weighted sum of candidates' outputs, one candidate after the other, with errors that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError


class Part(NamedTuple):
    """One summand, for error messages: a candidate, and its edge if it is in a cell."""

    candidate: str
    source: int | None = None
    node: int | None = None

    def __str__(self) -> str:
        edge = "" if self.node is None else f" on the edge from state {self.source} to node {self.node}"
        return f"{self.candidate!r}{edge}" if self.candidate else edge.strip()


class SharedInput:
    """An input of several candidates.

    Args:
        x: The input.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.parts: dict[int, object] = {}
        """What is computed of it once for edges with partial channels, by the number of parts."""


class Mixture:
    """A weighted sum of outputs (a mixed operation: DARTS, arXiv 1806.09055, equation 2).

    Args:
        choice: Name of the choice, for error messages.
    """

    def __init__(self, choice: str) -> None:
        self.choice = choice
        self._total: Tensor | None = None
        self._first: tuple[Part, torch.Size] | None = None

    def add(self, part: Part, weight: Tensor | None, candidate: nn.Module, x: SharedInput) -> None:
        """Add the output of a candidate.

        Args:
            part: The candidate's name.
            weight: A scalar that the output is multiplied by; None for 1.
            candidate: The candidate.
            x: Its input.

        Raises:
            SpaceError: The candidate alters its input in place, or its output has another shape than the others'.
        """
        self.add_tensor(part, weight, call_candidate(self.choice, part, candidate, x.x))

    def add_tensor(self, part: Part, weight: Tensor | None, output: Tensor) -> None:
        """Add a tensor; arguments and errors as in ``add``."""
        self.check_shape(part, output)
        output = output if weight is None else weight * output
        self._total = output if self._total is None else self._total + output

    def result(self) -> Tensor | None:
        """Return the sum, or None if nothing was added."""
        return self._total

    def check_shape(self, part: Part, output: Tensor) -> None:
        """Compare the shape of a summand with that of the first, since addition would broadcast.

        Raises:
            SpaceError: They differ, or the summand is not a tensor.
        """
        if not isinstance(output, Tensor):
            raise SpaceError(f"{self.choice}: candidate {part} returns a {type(output).__name__}, not a tensor")
        self.check_same_shape(part, output.shape)

    def check_same_shape(self, part: Part, shape: torch.Size) -> None:
        """Compare a shape with that of the first summand.

        Raises:
            SpaceError: They differ.
        """
        if self._first is None:
            self._first = part, shape
        elif self._first[1] != shape:
            first, expected = self._first
            raise SpaceError(
                f"{self.choice}: all candidates must return one shape, but {first} returns {tuple(expected)} and {part}"
                f" returns {tuple(shape)}"
            )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield a tensor, or those in nested lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)


def call_candidate(choice: str, part: Part, candidate: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a candidate.

    Args:
        choice: Name of the choice, for the error message.
        part: Name of the candidate, for the error message.
        candidate: The candidate.
        args: Arguments of the call.
        kwargs: Keyword arguments of the call.

    Raises:
        SpaceError: The candidate alters an input in place, which other candidates may read, too.
    """
    if torch.compiler.is_compiling():
        return candidate(*args, **kwargs)
    # torch counts the in-place changes of a tensor, except of inference tensors; there is no public counter.
    inputs = [x for x in tensors_in((*args, *kwargs.values())) if not x.is_inference()]
    versions = [x._version for x in inputs]
    output = candidate(*args, **kwargs)
    if versions != [x._version for x in inputs]:
        raise SpaceError(
            f"{choice}: candidate {part} alters its input in place, which other candidates and the frozen network read,"
            " too: make it work on a new tensor, for example with nn.ReLU(inplace=False) first"
        )
    return output
