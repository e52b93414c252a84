"""From a model with choices and an architecture to a plain module without any class of nasreg."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import fx, nn

from nasreg.errors import SpaceError
from nasreg.nn.choices import Choice, Scope
from nasreg.nn.copying import copy_module
from nasreg.nn.elastic import ElasticLayer
from nasreg.nn.extract import NESTED, extract_space, named_choices
from nasreg.nn.loose_ends import AfterLooseEnds, UnlessOneLooseEnd
from nasreg.nn.value_choice import ValueExpression, constant
from nasreg.specs.architecture import Architecture
from nasreg.specs.arguments import checked_arguments


@checked_arguments()
def freeze(model: nn.Module, architecture: Architecture, *, in_place: bool = False) -> nn.Module:
    """Return the network that an architecture describes, with the weights of the model.

    Every choice is replaced by the chosen candidates, all others are dropped, and modules of nasreg's own classes
    become ``torch.fx.GraphModule``s, so that the network can be saved and used where nasreg is not installed. For new
    weights, build the model anew and freeze that.

    Args:
        model: A model with choices.
        architecture: An architecture of the model's search space.
        in_place: Take the model apart instead of a copy of it, which saves time and memory; it cannot be used
            afterwards. Candidates that ``deferred_candidates`` left out are built now, if they are chosen.

    Raises:
        ArchitectureError: The architecture belongs to another search space.
        SpaceError: A candidate that is built now has a choice in it, or is no new module.
    """
    extract_space(model).validate(architecture)
    if not in_place:
        model = copy_module(model)
    decisions: dict[nn.Module, Any] = {}
    for key, _, choice, _ in named_choices(model):
        decisions[choice] = decision = architecture.decisions[key]
        choice.bind(partial(_same, decision))  # elastic layers ask for it
    return _plain(model, decisions, {})


def freeze_part(module: nn.Module, decisions: Mapping[nn.Module, Any]) -> nn.Module:
    """Return the plain module that a part of a model becomes, a copy with the same weights.

    Args:
        module: The part.
        decisions: A decision for each choice in it.
    """
    copied = copy_module(module)
    decided: dict[nn.Module, Any] = {}
    for own, other in zip(module.modules(), copied.modules(), strict=True):
        if isinstance(other, Choice):
            decided[other] = decisions[own]
            other.bind(partial(_same, decisions[own]))
    return _plain(copied, decided, {})


def _plain(module: nn.Module, decisions: Mapping[nn.Module, Any], done: dict[nn.Module, nn.Module]) -> nn.Module:
    """Replace choices, scopes and other classes of nasreg from the leaves up; a shared module stays shared."""
    if module in done:
        return done[module]
    plain = module
    if isinstance(module, Choice):
        if module not in decisions:
            raise SpaceError(f"{module.label} is in a candidate of another choice: {NESTED}")
        # candidates may contain classes of nasreg, too
        plain = _plain(module.materialize(decisions[module]), decisions, done)
    elif isinstance(module, ElasticLayer | AfterLooseEnds):
        plain = module.frozen()
    elif isinstance(module, UnlessOneLooseEnd):
        plain = _plain(module.frozen(), decisions, done)
    elif isinstance(module, ValueExpression):
        plain = constant(module())
    elif isinstance(module, Scope):
        plain = _plain(module.module, decisions, done)
    else:
        for name, child in module._modules.items():  # named_children() skips a child that has two names
            if child is not None:
                module.add_module(name, _plain(child, decisions, done))
        if _is_ours(type(module)):
            plain = fx.GraphModule(module, _trace(module), type(module).__name__)
    _remove_our_hooks(plain)
    done[module] = plain
    return plain


def _same(decision: Any) -> Any:
    return decision


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "nasreg"


def _remove_our_hooks(module: nn.Module) -> None:
    # An attached mutator has a hook on the model, which the copy has, too.
    hooks = module._forward_pre_hooks  # there is no public access
    for number in [number for number, hook in hooks.items() if _is_ours(type(hook))]:
        del hooks[number]


def _trace(module: nn.Module) -> fx.Graph:
    class Tracer(fx.Tracer):  # in here, since fx writes a tracer with a name of its own into pickles of the module
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return not _is_ours(type(m))

    # Recording Python's math functions of tensors takes most of the time, and no class of ours has such a one.
    return Tracer(autowrap_modules=()).trace(module)  # type: ignore[arg-type]  # torch declares exactly one module
