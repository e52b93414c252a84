"""A choice of a number or a text that modules read, and arithmetic with such numbers."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import fx, nn

from nasreg.errors import SpaceError
from nasreg.nn.choices import Choice, checked, decided
from nasreg.specs.choices import ValueChoiceSpec

MAX_COMBINATIONS = 100_000
"""Of the values of the choices that one expression depends on; more are refused."""


class _Arithmetic:
    """The operators that make expressions of values."""

    def __add__(self, other: Value) -> ValueExpression:
        return _expression(operator.add, self, other)

    def __radd__(self, other: Value) -> ValueExpression:
        return _expression(operator.add, other, self)

    def __sub__(self, other: Value) -> ValueExpression:
        return _expression(operator.sub, self, other)

    def __rsub__(self, other: Value) -> ValueExpression:
        return _expression(operator.sub, other, self)

    def __mul__(self, other: Value) -> ValueExpression:
        return _expression(operator.mul, self, other)

    def __rmul__(self, other: Value) -> ValueExpression:
        return _expression(operator.mul, other, self)

    def __floordiv__(self, other: Value) -> ValueExpression:
        return _expression(operator.floordiv, self, other)

    def __rfloordiv__(self, other: Value) -> ValueExpression:
        return _expression(operator.floordiv, other, self)


class ValueChoice(_Arithmetic, Choice):
    """A choice of one of several numbers or texts: of channels, a kernel size, an expansion, the name of an activation.

    Calling it returns the value of this forward pass. Several modules may hold the same object. Sums, differences,
    products and integer quotients with numbers or other values can be called, too, and the layers of ``nasreg.nn`` take
    all of them as sizes: ``width``, ``width * 4``, ``kernel // 2``.

    Args:
        values: The values.
        key: Name of the decision; see ``Choice``. A value that modules in several scopes hold has the key of the first.

    Raises:
        SpaceError: There is no key, or the values are not different numbers or texts.

    Example:
        ``width = ValueChoice([16, 32], key="width")``, then ``nasreg.nn.Conv2d(3, width, 3)``
    """

    has_candidates = False
    keeps_first_key = True

    def __init__(self, values: Sequence[float | str], key: str | None = None) -> None:
        super().__init__(key)
        if key is None:
            raise SpaceError(
                f"ValueChoice {list(values)} needs a key: modules hold it in several places, so that it has no path of"
                " its own"
            )
        self._spec = checked(ValueChoiceSpec, key=key, values=tuple(values))

    @property
    def values(self) -> tuple[int | float | str, ...]:
        """The values."""
        return self._spec.values

    def forward(self) -> Any:
        """Return the value of this forward pass."""
        return self.compute(self.answer())

    def compute(self, answer: Any) -> Any:
        """Return the value that is the answer.

        Raises:
            SpaceError: The answer is not one of the values.
        """
        return decided(self.label, self._spec, answer)

    def spec(self, key: str, paths: tuple[str, ...]) -> ValueChoiceSpec:
        """Return the description of this choice under its full key."""
        return checked(ValueChoiceSpec, key=key, paths=paths, values=self.values)

    def materialize(self, decision: float | str) -> nn.Module:
        """Return a module that returns the value, for modules that call this choice."""
        return constant(decision)


class ValueExpression(_Arithmetic, nn.Module):
    """A number that is computed of values; calling it returns that of this forward pass.

    Args:
        operation: A function of ``operator``.
        left: Its first argument.
        right: Its second argument.
    """

    def __init__(self, operation: Callable[[Any, Any], Any], left: Value, right: Value) -> None:
        super().__init__()
        self.operation = operation
        self.left = left
        self.right = right

    def forward(self) -> Any:
        """Return the number of this forward pass."""
        return self.operation(now(self.left), now(self.right))


Value = int | float | ValueChoice | ValueExpression
"""A number that is fixed, or decided by choices."""


def _expression(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> ValueExpression:
    for operand in (left, right):
        if not isinstance(operand, Value) or isinstance(operand, bool):
            raise SpaceError(f"a value is combined with {operand!r}, which is no number and no value")
        if isinstance(operand, ValueChoice) and any(isinstance(value, str) for value in operand.values):
            raise SpaceError(f"{operand.label} is one of texts, which one cannot compute with")
    if operation is operator.floordiv and 0 in possible_values(right):
        raise SpaceError("a value is divided by another that may be 0")
    return ValueExpression(operation, left, right)


def now(value: Value) -> Any:
    """Return the number of this forward pass."""
    return value() if isinstance(value, nn.Module) else value


def value_of(value: Value, decisions: Mapping[str | None, Any]) -> Any:
    """Return the number for given values of the choices that it depends on, by their keys."""
    if isinstance(value, ValueChoice):
        return decisions[value.key]
    if isinstance(value, ValueExpression):
        return value.operation(value_of(value.left, decisions), value_of(value.right, decisions))
    return value


def choices_of(*values: Value) -> dict[str | None, ValueChoice]:
    """Return the choices that some values depend on, by their keys."""
    modules = (module for value in values if isinstance(value, nn.Module) for module in value.modules())
    return {module.key: module for module in modules if isinstance(module, ValueChoice)}


def combinations(first: Value, *others: Value) -> Iterator[tuple[Any, ...]]:
    """Yield what some values may be together.

    Raises:
        SpaceError: One of them, or some that depend on a choice together, may be too much to list.
    """
    choices = choices_of(first, *others)
    if others and not choices_of(first).keys() & choices_of(*others).keys():
        for value, rest in itertools.product(possible_values(first), list(combinations(*others))):
            yield (value, *rest)
        return
    if (count := math.prod(len(choice.values) for choice in choices.values())) > MAX_COMBINATIONS:
        raise SpaceError(
            f"one size depends on {', '.join(map(repr, choices))}, which have {count:,} combinations; at most"
            f" {MAX_COMBINATIONS:,} can be checked"
        )
    for numbers in itertools.product(*(choice.values for choice in choices.values())):
        decisions = dict(zip(choices, numbers, strict=True))
        yield tuple(value_of(value, decisions) for value in (first, *others))


def possible_values(value: Value) -> set[Any]:
    """Return every number that a value may be.

    Raises:
        SpaceError: As for ``combinations``.
    """
    if isinstance(value, ValueExpression) and not choices_of(value.left).keys() & choices_of(value.right).keys():
        left, right = possible_values(value.left), possible_values(value.right)
        return {value.operation(one, other) for one in left for other in right}
    return {each for (each,) in combinations(value)}


def constant(value: float | str) -> fx.GraphModule:
    """Return a module that takes nothing and returns a number or a text."""
    graph = fx.Graph()
    graph.output(value)
    return fx.GraphModule(nn.Module(), graph)
