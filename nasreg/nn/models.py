"""Checks of a user's model that need no images: wrappers and layers that a search space cannot contain."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy

from nasreg.errors import SpaceError


def check_model(model: nn.Module) -> None:
    """Check that a model is neither wrapped nor unfinished.

    Raises:
        SpaceError: It, or a part of it, is in a ``DataParallel`` or compiled, or a layer has no size yet.
    """
    for path, module in model.named_modules():
        where = f"the model's {path}" if path else f"the model {type(model).__name__}"
        if isinstance(module, nn.DataParallel | DistributedDataParallel):
            raise SpaceError(
                f"{where} is wrapped in {type(module).__name__}: give the model itself (model.module). A training runs"
                " on one device, and several trials at the same time with workers=N"
            )
        if "_orig_mod" in module._modules:
            raise SpaceError(
                f"{where} was made by torch.compile, which cannot follow choices: give the model itself"
                " (model._orig_mod), and compile the network that the search returns"
            )
        tensors = (*module._parameters.values(), *module._buffers.values())
        if any(tensor is not None and is_lazy(tensor) for tensor in tensors):
            size = type(module).__name__.removeprefix("Lazy")
            raise SpaceError(
                f"{where} is a {type(module).__name__}, which has no size before its first batch: write nn.{size} with"
                " its size (a class or function with a parameter named 'info' finds the shape of the images in it)"
            )
