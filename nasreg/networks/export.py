"""Networks as files: ``torch.export`` (``.pt2``), ONNX, and safetensors with a JSON file. Imports torch.

A file is written only if, loaded back, it reproduces torch's output for several batch sizes.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, nn

from nasreg.errors import ConfigError, ExportError, NasregError, did_you_mean
from nasreg.networks.references import ArchitectureRef
from nasreg.networks.weights import NetworkManifest, set_weights
from nasreg.nn.copying import copy_module
from nasreg.nn.mixture import tensors_in
from nasreg.registry import Registry
from nasreg.runs.writing import atomic_write
from nasreg.specs import DataInfo, Spec
from nasreg.specs.arguments import checked_arguments

Format = Literal["pt2", "onnx", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)

TOLERANCE = 1e-4
"""Largest accepted difference to torch, relative to the largest absolute value of torch's output."""


class ExportReport(Spec):
    """The files written, and how far their output is from that of the network."""

    format: Format
    files: tuple[Path, ...] = Field(description="the file, and for safetensors the JSON file beside it")
    absolute: float = Field(description="largest absolute difference to torch's output")
    relative: float = Field(description="the same, divided by the largest absolute value of torch's output")
    batch_sizes: tuple[int, ...] = Field(description="sizes of the batches that were compared")


class _Written(NamedTuple):
    data: bytes
    run: Callable[[Tensor], Any]
    """Computes the output of the file: images to logits."""


@checked_arguments()
def export_network(
    network: nn.Module,
    example: Tensor,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # the standard name
    manifest: NetworkManifest | None = None,
    registry: Registry | None = None,
) -> ExportReport:
    """Write a network, in evaluation mode, to a file, and compare the outputs of both.

    Args:
        network: Takes ``(B, C, H, W)`` images; it is left unchanged.
        example: Images ``(B, C, H, W)`` to trace and to compare with. The file takes any B, but the same C, H and W.
        path: The file. Its folder exists; a file that is there already is replaced.
        format: ``pt2``, ``onnx`` or ``safetensors``; by default that of the file's suffix.
        manifest: What rebuilds the network, see ``nasreg.networks.weights.network_manifest``; needed for safetensors,
            which hold weights only.
        registry: Where names in the manifest are looked up; by default what is installed.

    Returns:
        The files, and the largest differences.

    Raises:
        ConfigError: There is no such format or folder, or packages or the manifest are missing.
        ExportError: torch cannot export the network, or the file computes something else (beyond ``TOLERANCE``);
            nothing was written.
    """
    path = Path(path)
    chosen = check_path(path, format)
    network = copy_module(network).cpu().eval()
    example = example.detach().cpu()
    more = torch.cat([example, example[:1]])
    traced = example if len(example) > 1 else more  # torch takes a size of 1 for a constant
    if manifest is not None:
        manifest = manifest.model_copy(update={"weights": path.name})
    try:
        if chosen == "pt2":
            written = _pt2(network, traced)
        elif chosen == "onnx":
            written = _onnx(network, traced)
        else:
            written = _safetensors(network, manifest, registry)
    except NasregError:
        raise
    except Exception as error:  # torch has no common class for these errors
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise ExportError(f"the network cannot be exported to {chosen}: {type(error).__name__}: {reason}") from error
    batches = [example, example[:1], more]
    absolute, relative = _compare(network, written.run, batches)
    files = {path: written.data}
    if chosen == "safetensors" and manifest is not None:
        files[path.with_name(f"{path.name}.json")] = (manifest.model_dump_json(indent=2) + "\n").encode()
    try:
        for name, data in files.items():
            with atomic_write(name) as file:
                file.write(data)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    return ExportReport(
        format=chosen,
        files=tuple(files),
        absolute=absolute,
        relative=relative,
        batch_sizes=tuple(sorted({len(batch) for batch in batches})),
    )


def example_images(info: DataInfo) -> Tensor:
    """Return two images of noise, ``(2, C, H, W)``, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, info.channels, info.height, info.width, generator=generator)


def default_path(source: ArchitectureRef, format: str = "pt2") -> Path:  # noqa: A002  # the standard name
    """Return the name of the file for a source, in the current directory."""
    name = source.run.path.name if source.run else Path(source.title).name.removesuffix(".json")
    return Path(f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'network'}.{format}")


def check_path(path: Path, format: str | None = None) -> Format:  # noqa: A002  # the standard name
    """Check that a file can be written, and return its format.

    Raises:
        ConfigError: There is no such format, it does not fit the file's suffix, or there is no such folder.
    """
    suffix = path.suffix.removeprefix(".")
    word = format if format is not None else suffix
    found = next((known for known in FORMATS if known == word), None)
    if found is None:
        what = f"there is no format {word!r}" if word else f"the name {str(path)!r} says no format"
        raise ConfigError(f"{what}.{did_you_mean(word, FORMATS)}")
    if found != suffix:
        raise ConfigError(f"format {found} goes into a file with the suffix .{found}, not into {str(path)!r}")
    try:
        folder, writable = path.is_dir(), path.parent.is_dir() and os.access(path.parent, os.W_OK)
    except (OSError, ValueError) as error:  # too long to be a name, or no name at all
        raise ConfigError(f"{str(path)[:80]!r} is no name of a file: {error.args[-1]}") from error
    if folder:
        raise ConfigError(f"{path} is a folder: name a file")
    if not writable:
        raise ConfigError(f"there is no folder {path.parent} that could be written to")
    return found


def _pt2(network: nn.Module, images: Tensor) -> _Written:
    with torch.no_grad():
        program = torch.export.export(network, (images,), dynamic_shapes=_any_batch(), strict=False)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return _Written(file.getvalue(), torch.export.load(file).module())


def _onnx(network: nn.Module, images: Tensor) -> _Written:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # torch needs it
    except ImportError as error:
        raise ConfigError('ONNX files need more packages: pip install "nasreg[onnx]"') from error
    with torch.no_grad():
        several = not isinstance(network(images), Tensor)
    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=None if several else ["logits"],
        dynamic_shapes=_any_batch(),
    )
    assert program is not None  # noqa: S101  # it is with dynamo
    data = program.model_proto.SerializeToString()
    onnx.checker.check_model(data, full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(batch: Tensor) -> list[Tensor]:
        return [torch.from_numpy(output) for output in session.run(None, {"images": batch.numpy()})]

    return _Written(data, run)


def _any_batch() -> Any:
    return ({0: torch.export.Dim("batch", min=1)},)


def _safetensors(network: nn.Module, manifest: NetworkManifest | None, registry: Registry | None) -> _Written:
    if manifest is None:
        raise ConfigError(
            "a safetensors file holds weights only: give the manifest of the network, too"
            " (nasreg.networks.weights.network_manifest)"
        )
    # What two names share is written twice: it is read as one again, since the network is built before.
    data = safetensors.torch.save(
        {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, {"format": "pt"}
    )
    again = manifest.build(registry)
    set_weights(again, safetensors.torch.load(data), "the weights of the manifest's network")
    return _Written(data, again.eval())


def _compare(network: nn.Module, run: Callable[[Tensor], Any], batches: Sequence[Tensor]) -> tuple[float, float]:
    absolute = largest = 0.0
    with torch.no_grad():
        for batch in batches:
            ours, theirs = list(tensors_in(network(batch))), list(tensors_in(run(batch)))
            for expected, found in zip(ours, theirs, strict=True):
                if not expected.isfinite().all():
                    raise ExportError("the network gives values that are not finite: there is nothing to compare with")
                absolute = max(absolute, _largest(expected.double() - found.double()))
                largest = max(largest, _largest(expected.double()))
    relative = absolute / largest if largest else absolute
    if not relative <= TOLERANCE:  # also if it is no number
        raise ExportError(
            f"the file computes something else than the network: the largest difference is {absolute:.1e} absolute,"
            f" {relative:.1e} relative, beyond {TOLERANCE:.0e}; nothing was written"
        )
    return absolute, relative


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
