"""Layers of torch whose sizes may be decided by choices of values.

Such a layer has one weight of the largest size, of which a forward pass uses the leading slice, and of a kernel the
centred one (as in Once-for-All, arXiv 1908.09791, without its kernel transforms, and in slimmable networks, arXiv
1812.08928). ``freeze`` makes torch's own layers of the slices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.nn.value_choice import Value, combinations, now, possible_values


class Sizes(nn.Module):
    """The sizes of a layer, each fixed or decided.

    Args:
        layer: Name of the layer, for error messages.
        sizes: The sizes by name.

    Raises:
        SpaceError: A size may be something else than a whole number of at least 1 (a padding: 0).
    """

    def __init__(self, layer: str, **sizes: Value) -> None:
        super().__init__()
        self._layer = layer
        self._names = tuple(sizes)
        for name, size in sizes.items():
            if not isinstance(size, Value) or isinstance(size, bool):
                raise SpaceError(f"{layer}: {name} is {size!r}, not a number or a ValueChoice of numbers")
            setattr(self, name, size)
            self.possible(name)  # reports what is no size here, where it is written

    def forward(self) -> dict[str, int]:
        """Return the sizes of this forward pass."""
        return {name: self._whole(name, now(getattr(self, name))) for name in self._names}

    def possible(self, name: str) -> set[int]:
        """Return every possible value of a size.

        Raises:
            SpaceError: One is no whole number, or there are too many.
        """
        return {self._whole(name, value) for value in possible_values(getattr(self, name))}

    def together(self, *names: str) -> Iterator[tuple[int, ...]]:
        """Yield what some sizes may be together; errors as in ``possible``."""
        for values in combinations(*(getattr(self, name) for name in names)):
            yield tuple(map(self._whole, names, values))

    def _whole(self, name: str, value: Any) -> int:
        minimum = 0 if name.startswith("padding") else 1
        if isinstance(value, str) or value != int(value) or value < minimum:
            raise SpaceError(f"{self._layer}: {name} may be {value!r}; it must be a whole number of at least {minimum}")
        return int(value)


class ElasticLayer(nn.Module, ABC):
    """Base of the layers whose sizes may be decided; each derives from torch's layer, too.

    Attributes:
        sizes: The sizes.
    """

    sizes: Sizes

    @abstractmethod
    def slices(self, sizes: Mapping[str, int]) -> dict[str, Tensor | None]:
        """Return the slices of the parameters and buffers that are used with some sizes, by their names."""

    @abstractmethod
    def plain(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return torch's layer of some sizes, on the meta device."""

    def frozen(self) -> nn.Module:
        """Return torch's layer of the decided sizes, with copies of the slices."""
        sizes = self.sizes()
        layer = self.plain(sizes)
        for name, tensor in self.slices(sizes).items():
            whole = getattr(self, name)
            if tensor is not None and isinstance(whole, nn.Parameter):
                copied = nn.Parameter(tensor.detach().clone(), requires_grad=whole.requires_grad)
                layer.register_parameter(name, copied)
            elif tensor is not None:
                layer.register_buffer(name, tensor.clone())
        return layer.train(self.training)


class Conv2d(ElasticLayer, nn.Conv2d):
    """``torch.nn.Conv2d`` whose channels, kernel size, stride, padding and groups may be decided.

    ``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``. The kernel is the centre of the largest one. With an
    elastic kernel, ``padding="same"`` or, with strides, ``padding=kernel // 2`` keeps the size of the image. A
    depthwise convolution has one value for both channels and groups.

    Args:
        in_channels: A number or a value, as are all sizes here; see ``torch.nn.Conv2d``.
        out_channels: See ``torch.nn.Conv2d``.
        kernel_size: One size, or height and width.
        stride: One size, or height and width.
        padding: One size, height and width, ``"same"`` or ``"valid"``.
        dilation: See ``torch.nn.Conv2d``.
        groups: A number or a value.
        bias: See ``torch.nn.Conv2d``.
        padding_mode: See ``torch.nn.Conv2d``.
        device: See ``torch.nn.Conv2d``.
        dtype: See ``torch.nn.Conv2d``.

    Raises:
        SpaceError: A size may be invalid, channels may come together with groups that do not divide them, or kernel
            sizes are both odd and even, which have no common centre.
    """

    def __init__(
        self,
        in_channels: Value,
        out_channels: Value,
        kernel_size: Value | tuple[Value, Value],
        stride: Value | tuple[Value, Value] = 1,
        padding: Value | tuple[Value, Value] | Literal["same", "valid"] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: Value = 1,
        bias: bool = True,  # as in torch
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        height, width = _pair(kernel_size)
        stride_height, stride_width = _pair(stride)
        pad_height, pad_width = (0, 0) if isinstance(padding, str) else _pair(padding)
        sizes = Sizes(
            "Conv2d",
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_height=height,
            kernel_width=width,
            stride_height=stride_height,
            stride_width=stride_width,
            padding_height=pad_height,
            padding_width=pad_width,
            groups=groups,
        )
        for name in ("kernel_height", "kernel_width"):
            if len({size % 2 for size in sizes.possible(name)}) > 1:
                found = ", ".join(map(str, sorted(sizes.possible(name))))
                raise SpaceError(f"Conv2d: {name} may be {found}: odd and even kernels have no common centre")
        for name in ("in_channels", "out_channels"):
            for channels, n_groups in sizes.together(name, "groups"):
                if channels % n_groups:
                    raise SpaceError(f"Conv2d: {name} may be {channels} with groups={n_groups}, which do not divide it")
        super().__init__(
            max(channels // n_groups for channels, n_groups in sizes.together("in_channels", "groups")),
            max(sizes.possible("out_channels")),
            (max(sizes.possible("kernel_height")), max(sizes.possible("kernel_width"))),
            (max(sizes.possible("stride_height")), max(sizes.possible("stride_width"))),
            padding if isinstance(padding, str) else 0,
            dilation,
            1,  # so that the first argument is the second dimension of the weight
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.in_channels, self.groups = max(sizes.possible("in_channels")), max(sizes.possible("groups"))
        self.sizes = sizes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as in torch
        """Convolve with the slices of this forward pass."""
        sizes = self.sizes()
        tensors = self.slices(sizes)
        x, padding = input, self._padding(sizes)
        if self.padding_mode != "zeros":
            x, padding = F.pad(input, self._pad_widths(sizes), self.padding_mode), 0
        weight = cast("Tensor", tensors["weight"])
        stride = (sizes["stride_height"], sizes["stride_width"])
        return F.conv2d(x, weight, tensors["bias"], stride, padding, self.dilation, sizes["groups"])

    def slices(self, sizes: Mapping[str, int]) -> dict[str, Tensor | None]:
        """Return the leading channels of the centre of the kernel."""
        n_out, per_group = sizes["out_channels"], sizes["in_channels"] // sizes["groups"]
        height, width = sizes["kernel_height"], sizes["kernel_width"]
        top, left = (self.weight.shape[2] - height) // 2, (self.weight.shape[3] - width) // 2
        weight = self.weight[:n_out, :per_group, top : top + height, left : left + width]
        return {"weight": weight, "bias": None if self.bias is None else self.bias[:n_out]}

    def plain(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return torch's layer of some sizes, on the meta device."""
        return nn.Conv2d(
            sizes["in_channels"],
            sizes["out_channels"],
            (sizes["kernel_height"], sizes["kernel_width"]),
            (sizes["stride_height"], sizes["stride_width"]),
            self._padding(sizes),
            cast("tuple[int, int]", self.dilation),
            sizes["groups"],
            self.bias is not None,
            self.padding_mode,
            "meta",
            self.weight.dtype,
        )

    def _padding(self, sizes: Mapping[str, int]) -> Any:
        return self.padding if isinstance(self.padding, str) else (sizes["padding_height"], sizes["padding_width"])

    def _pad_widths(self, sizes: Mapping[str, int]) -> list[int]:
        """Return the widths of the padding as ``F.pad`` takes them: left, right, top, bottom."""
        widths: list[int] = []
        for side, dilation in (("width", self.dilation[1]), ("height", self.dilation[0])):
            if self.padding == "same":
                total = dilation * (sizes[f"kernel_{side}"] - 1)
                widths += [total // 2, total - total // 2]
            else:
                widths += [sizes[f"padding_{side}"]] * 2  # 0 if it is "valid"
        return widths


class BatchNorm2d(ElasticLayer, nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d`` whose number of features may be decided: ``(B, num_features, H, W)`` to the same shape.

    The running statistics are slices, too, and so are shared by all sizes: they are those of whatever was computed
    last. Compute them anew on some training batches before a frozen network is evaluated.

    Args:
        num_features: A number or a value.
        eps: See ``torch.nn.BatchNorm2d``.
        momentum: See ``torch.nn.BatchNorm2d``.
        affine: See ``torch.nn.BatchNorm2d``.
        track_running_stats: See ``torch.nn.BatchNorm2d``.
        device: See ``torch.nn.BatchNorm2d``.
        dtype: See ``torch.nn.BatchNorm2d``.

    Raises:
        SpaceError: The size may be invalid.
    """

    def __init__(
        self,
        num_features: Value,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,  # as in torch
        track_running_stats: bool = True,  # as in torch
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = Sizes("BatchNorm2d", num_features=num_features)
        super().__init__(max(sizes.possible("num_features")), eps, momentum, affine, track_running_stats, device, dtype)
        self.sizes = sizes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as in torch
        """Normalise with the slices of this forward pass."""
        self._check_input_dim(input)
        tensors = self.slices(self.sizes())
        factor = self.momentum or 0.0
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the mean of all batches
                factor = 1 / float(self.num_batches_tracked)
        use_running = self.track_running_stats or not self.training
        running = (tensors["running_mean"], tensors["running_var"]) if use_running else (None, None)
        by_batch = self.training or running[0] is None
        return F.batch_norm(input, *running, tensors["weight"], tensors["bias"], by_batch, factor, self.eps)

    def slices(self, sizes: Mapping[str, int]) -> dict[str, Tensor | None]:
        """Return the leading features, and the number of batches so far."""
        names = ("weight", "bias", "running_mean", "running_var")
        tensors = {name: getattr(self, name) for name in names}
        found = {name: None if each is None else each[: sizes["num_features"]] for name, each in tensors.items()}
        return {**found, "num_batches_tracked": self.num_batches_tracked}

    def plain(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return torch's layer of some sizes, on the meta device."""
        size = sizes["num_features"]
        return nn.BatchNorm2d(size, self.eps, self.momentum, self.affine, self.track_running_stats, "meta")


class Linear(ElasticLayer, nn.Linear):
    """``torch.nn.Linear`` whose numbers of features may be decided: ``(..., in_features)`` to ``(..., out_features)``.

    Args:
        in_features: A number or a value.
        out_features: A number or a value.
        bias: See ``torch.nn.Linear``.
        device: See ``torch.nn.Linear``.
        dtype: See ``torch.nn.Linear``.

    Raises:
        SpaceError: A size may be invalid.
    """

    def __init__(
        self,
        in_features: Value,
        out_features: Value,
        bias: bool = True,  # as in torch
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = Sizes("Linear", in_features=in_features, out_features=out_features)
        super().__init__(max(sizes.possible("in_features")), max(sizes.possible("out_features")), bias, device, dtype)
        self.sizes = sizes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as in torch
        """Multiply by the slices of this forward pass."""
        tensors = self.slices(self.sizes())
        return F.linear(input, cast("Tensor", tensors["weight"]), tensors["bias"])

    def slices(self, sizes: Mapping[str, int]) -> dict[str, Tensor | None]:
        """Return the leading features."""
        weight = self.weight[: sizes["out_features"], : sizes["in_features"]]
        return {"weight": weight, "bias": None if self.bias is None else self.bias[: sizes["out_features"]]}

    def plain(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return torch's layer of some sizes, on the meta device."""
        return nn.Linear(sizes["in_features"], sizes["out_features"], self.bias is not None, "meta")


class LayerNorm(ElasticLayer, nn.LayerNorm):
    """``torch.nn.LayerNorm`` whose shape may be decided: ``(..., *normalized_shape)`` to the same shape.

    Args:
        normalized_shape: The sizes of the last dimensions, each a number or a value; one for the last dimension only.
        eps: See ``torch.nn.LayerNorm``.
        elementwise_affine: See ``torch.nn.LayerNorm``.
        bias: See ``torch.nn.LayerNorm``.
        device: See ``torch.nn.LayerNorm``.
        dtype: See ``torch.nn.LayerNorm``.

    Raises:
        SpaceError: A size may be invalid.
    """

    def __init__(
        self,
        normalized_shape: Value | Sequence[Value],
        eps: float = 1e-5,
        elementwise_affine: bool = True,  # as in torch
        bias: bool = True,  # as in torch
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        sizes = Sizes("LayerNorm", **{f"dim{number}": size for number, size in enumerate(shape)})
        largest = [max(sizes.possible(f"dim{number}")) for number in range(len(shape))]
        super().__init__(largest, eps, elementwise_affine, bias, device, dtype)
        self.sizes = sizes

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as in torch
        """Normalise with the slices of this forward pass."""
        sizes = self.sizes()
        tensors = self.slices(sizes)
        return F.layer_norm(input, list(sizes.values()), tensors["weight"], tensors["bias"], self.eps)

    def slices(self, sizes: Mapping[str, int]) -> dict[str, Tensor | None]:
        """Return the leading elements of each dimension."""
        where = tuple(map(slice, sizes.values()))
        tensors = {"weight": self.weight, "bias": self.bias}
        return {name: None if tensor is None else tensor[where] for name, tensor in tensors.items()}

    def plain(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return torch's layer of some sizes, on the meta device."""
        bias = self.bias is not None
        return nn.LayerNorm(list(sizes.values()), self.eps, self.elementwise_affine, bias, "meta")


def _pair(size: Value | tuple[Value, Value]) -> tuple[Value, Value]:
    return size if isinstance(size, tuple) else (size, size)
