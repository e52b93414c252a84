"""The structure of a candidate as the fast supernet sees it: a sequence of modules, read by their types.

Only modules of exactly the types below are recognised; subclasses, modules with hooks and everything else are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

from torch import Tensor, nn

from nasreg.nn.fast.convolution import Geometry, output_shape

Signature = tuple[Any, ...]
"""Type and settings of a module without parameters: equal signatures compute the same."""


def flatten(module: nn.Module) -> list[nn.Module]:
    """Return the modules that a candidate calls in a row."""
    if type(module) is nn.Sequential and len(module) > 0 and not _has_hooks(module):
        return [step for child in module for step in flatten(child)]
    return [module]


def _has_hooks(module: nn.Module) -> bool:
    # torch has no public way to ask.
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def signature(step: nn.Module) -> Signature | None:
    """Return the signature of a module without parameters whose output can be shared; None for any other module."""
    if _has_hooks(step):
        return None
    kind = type(step)
    if kind is nn.Identity:
        return ()
    if kind is nn.ReLU:
        return None if step.inplace else (kind,)
    if kind is nn.MaxPool2d and not step.return_indices:
        return (kind, step.kernel_size, step.stride, step.padding, step.dilation, step.ceil_mode)
    if kind is nn.AvgPool2d:
        sizes = (step.kernel_size, step.stride, step.padding)
        return (kind, *sizes, step.ceil_mode, step.count_include_pad, step.divisor_override)
    return None


def is_conv(step: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a convolution with the settings that ``convolution`` computes."""
    if type(step) is not nn.Conv2d or _has_hooks(step):
        return False
    return step.bias is None and step.padding_mode == "zeros" and not isinstance(step.padding, str)


def is_norm(step: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether a module is a BatchNorm with the settings that ``batch_norm`` computes."""
    if type(step) is not nn.BatchNorm2d or _has_hooks(step):
        return False
    return step.momentum is not None or not step.track_running_stats


def alters_input(step: nn.Module) -> bool:
    """Return whether a module may work in place, going by the ``inplace`` attributes of torch's own modules."""
    return any(getattr(module, "inplace", False) is True for module in step.modules())


def has_variance(x: Tensor) -> bool:
    """Return whether a batch has more than one value per channel."""
    return x.dim() == 4 and x.numel() > x.shape[1]


class FusedForm(NamedTuple):
    """A candidate as blocks and an optional last BatchNorm.

    A block is a BatchNorm or None, whether a ReLU follows, and convolutions.
    """

    blocks: list[tuple[nn.BatchNorm2d | None, bool, list[nn.Conv2d]]]
    norm: nn.BatchNorm2d | None
    shape: tuple[int, ...]
    """Shape of the output."""


def fused_form(steps: Sequence[nn.Module], shape: tuple[int, ...]) -> FusedForm | None:
    """Read the modules of a candidate in training mode, if they have the form of a fused sum.

    Args:
        steps: The modules.
        shape: Shape of their input, ``(B, C, H, W)``.
    """
    form = FusedForm([], None, shape)
    position = 0

    def norm_at(position: int) -> nn.BatchNorm2d | None:
        step = steps[position]
        batch, _, height, width = form.shape
        return step if is_norm(step) and step.training and batch * height * width > 1 else None

    while position < len(steps):
        norm = norm_at(position)
        if norm is not None and position == len(steps) - 1:
            return form._replace(norm=norm)
        position += norm is not None
        relu = type(steps[position]) is nn.ReLU and not _has_hooks(steps[position])
        if relu and position == 0 and alters_input(steps[position]):
            return None  # the caller reports what it alters
        position += relu
        convolutions: list[nn.Conv2d] = []
        while position < len(steps) and is_conv(step := steps[position]):
            convolutions.append(step)
            form = form._replace(shape=output_shape(form.shape, step.weight, Geometry.of(step)))
            position += 1
        if not convolutions:
            return None
        form.blocks.append((norm, relu, convolutions))
    return form
