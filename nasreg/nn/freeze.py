"""From a model with choices and an architecture to a plain module that knows nothing of nasreg."""

from __future__ import annotations

import copy
from typing import Any

from torch import fx, nn

from nasreg.errors import SpaceError
from nasreg.nn.choices import Choice, Scope
from nasreg.nn.extract import extract_space, named_choices
from nasreg.specs.architecture import Architecture


def freeze(model: nn.Module, architecture: Architecture, *, keep_weights: bool = True) -> nn.Module:
    """Make the network that an architecture describes.

    Every choice is replaced by what was decided, unused candidates are gone, and modules of nasreg's own classes become
    ``torch.fx.GraphModule``s, so that the result can be saved and used where nasreg is not installed. The model itself
    is left as it is.

    Args:
        model: A model with choices.
        architecture: One of the model's search space.
        keep_weights: Keep the trained weights; otherwise every module starts anew (``reset_parameters``).

    Raises:
        ArchitectureError: The architecture belongs to another search space.
        SpaceError: With ``keep_weights=False``, a module has parameters but no ``reset_parameters``.
    """
    extract_space(model).validate(architecture)
    model = copy.deepcopy(model)
    chosen: dict[Choice, nn.Module] = {}
    for key, _, choice, _ in named_choices(model):
        if choice not in chosen:
            chosen[choice] = choice.frozen(architecture.decisions[key])
    plain = _plain(model, chosen, {})
    if not keep_weights:
        _reset(plain)
    return plain


def _plain(module: nn.Module, chosen: dict[Choice, nn.Module], done: dict[nn.Module, nn.Module]) -> nn.Module:
    """Replace choices, scopes and other classes of nasreg from the leaves up; a shared module stays shared."""
    if module in done:
        return done[module]
    plain = module
    if isinstance(module, Choice):
        plain = _plain(chosen[module], chosen, done)  # it may hold classes of nasreg in its turn
    elif isinstance(module, Scope):
        plain = _plain(module.module, chosen, done)
    else:
        for name, child in module._modules.items():  # named_children() passes over a child that has two names
            if child is not None:
                module.add_module(name, _plain(child, chosen, done))
        if _is_ours(module):
            plain = fx.GraphModule(module, _trace(module), type(module).__name__)
    done[module] = plain
    return plain


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "nasreg"


def _trace(module: nn.Module) -> fx.Graph:
    class Tracer(fx.Tracer):  # in here, since fx writes a tracer with a name of its own into pickles of the module
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return not _is_ours(m)

    return Tracer().trace(module)


def _reset(model: nn.Module) -> None:
    for name, module in model.named_modules():
        reset: Any = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise SpaceError(
                f"{name or 'the model'} ({type(module).__name__}) has parameters but no reset_parameters(), so that it"
                " cannot start anew: add that method, or build the model again and freeze that with keep_weights=True"
            )
