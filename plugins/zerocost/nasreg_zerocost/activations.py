"""Measures of how differently a network treats the images of a batch (Mellor et al., arXiv 2006.04647).

``jacob_cov`` is the score of the first version of the paper, as in github.com/SamsungLabs/zero-cost-nas (commit
a43bfbc); ``naswot`` that of the third, ``hook_logdet`` of github.com/BayesWatch/nas-without-training (commit b3a82a6).
BatchNorm uses the statistics of the batch. Of each a higher value is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nasreg_zerocost.calls import watch
from nasreg_zerocost.layers import ScoreError, gradients, main_output

_aten = torch.ops.aten
_RELUS = frozenset(
    {
        _aten.relu.default,
        _aten.relu_.default,
        _aten.leaky_relu.default,
        _aten.leaky_relu_.default,
        _aten._prelu_kernel.default,
    }
)
_CLIPS = frozenset({_aten.hardtanh.default, _aten.hardtanh_.default})
"""ReLU6 is one whose lower bound is 0."""

EPSILON = 1e-5
"""k of jacob_cov."""


def jacob_cov(network: nn.Module, images: Tensor) -> float:
    """Return -sum(log(v + k) + 1 / (v + k)), v the eigenvalues of the correlation of the input gradients of the images.

    The input gradient of an image is that of the sum of all outputs. The authors' program takes the eigenvalues as of
    any matrix; this one makes use of its symmetry.

    Raises:
        ScoreError: The input gradient of an image is constant, and correlates with no other.
    """
    images = images.clone().requires_grad_(True)
    [jacobian] = gradients(main_output(network(images)).sum(), [images])
    rows = jacobian.flatten(1).double().cpu()
    if bool((rows == rows[:, :1]).all(1).any()):
        raise ScoreError("the output does not depend on an image, or in the same way on all of its pixels")
    if not bool(rows.isfinite().all()):
        raise ScoreError("the gradient by the images is not finite")
    shifted = torch.linalg.eigvalsh(torch.corrcoef(rows)) + EPSILON
    return -float((shifted.log() + 1 / shifted).sum())


def naswot(network: nn.Module, images: Tensor) -> float:
    """Return log |det K|, K[i, j] the number of ReLUs that are on for both of the images i and j, or off for both.

    Raises:
        ScoreError: The network has no ReLU.
    """
    agreements = relu_agreements(network, images)
    return float(torch.linalg.slogdet(torch.stack(agreements).sum(0)).logabsdet)


def relu_agreements(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return K of ``naswot`` for each layer of ReLUs, in the order of computation; each ``(B, B)``, in float64.

    The authors' program counts each module whose class has ReLU in its name, by its input. On networks of NAS-Bench-201
    these are also the blocks ``ReLUConvBN``, so that all layers but the last count twice there. Here each counts once.

    Args:
        network: ReLU, leaky and parametric ReLU and ReLU6 count, also where they are functions and not modules.
        images: ``(B, C, H, W)``.

    Raises:
        ScoreError: It has none of these.
    """
    agreements: list[Tensor] = []

    def see(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        del kwargs
        relu6 = operation in _CLIPS and len(args) > 1 and args[1] == 0
        # As in the authors' program, what has not as many rows as there are images does not count.
        if (operation in _RELUS or relu6) and len(args[0]) == len(images):
            on = (args[0] > 0).flatten(1).to("cpu", torch.float64)
            agreements.append(on @ on.T + (1 - on) @ (1 - on.T))

    watch(network, images, see)
    if not agreements:
        raise ScoreError("the network has no ReLU: choose another measure")
    return agreements
