"""Measures of the gradient of the loss on one batch, from pruning at initialisation, as scores of networks.

Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS, arXiv 2101.08134; the authors' program is
``foresight/pruners/measures`` of github.com/SamsungLabs/zero-cost-nas (commit a43bfbc). w are the weights of the
convolutions and linear layers, L the mean loss of the batch, and BatchNorm uses the statistics of the batch. Of each a
higher value is better. Each function changes the network that it is given, and returns the share of each layer.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from nasreg_zerocost.layers import (
    LayerScores,
    Loss,
    by_layer,
    gradients,
    main_output,
    weighted_layers,
    weights_of,
)


def grad_norm(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> LayerScores:
    """Return the sum over layers of |dL/dw|, the Euclidean norm (not the norm over all layers)."""
    weights, grads = _weights_and_gradients(network, images, labels, loss)
    return by_layer(list(weights), [grad.norm() for grad in grads])


def plain(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> LayerScores:
    """Return the sum of w * dL/dw (Mozer, Smolensky: Skeletonization, NeurIPS 1988).

    It is close to zero for a convolution before BatchNorm, which undoes what scales its weights.
    """
    weights, grads = _weights_and_gradients(network, images, labels, loss)
    return by_layer(list(weights), [weight * grad for weight, grad in zip(weights.values(), grads, strict=True)])


def snip(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> LayerScores:
    """Return the sum of |w * dL/dw| (Lee, Ajanthan, Torr, arXiv 1810.02340).

    It is the gradient by a mask of ones that the weights are multiplied with.
    """
    weights, grads = _weights_and_gradients(network, images, labels, loss)
    return by_layer(
        list(weights), [(weight * grad).abs() for weight, grad in zip(weights.values(), grads, strict=True)]
    )


def grasp(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> LayerScores:
    """Return the sum of -w * (H g), g = dL/dw and H the Hessian of L (Wang, Zhang, Grosse, arXiv 2002.07376).

    The sign is that of Abdelfattah et al., with which a higher value goes with a higher accuracy.
    """
    weights = weights_of(network)
    values = list(weights.values())
    grads = gradients(loss(main_output(network(images)), labels), values, create_graph=True)
    product = torch.stack([(grad.detach() * grad).sum() for grad in grads]).sum() if grads else images.new_zeros(())
    hessian_times_gradient = gradients(product, values)
    return by_layer(
        list(weights), [-weight * each for weight, each in zip(values, hessian_times_gradient, strict=True)]
    )


def fisher(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> LayerScores:
    """Return the sum over weights of the Fisher information of their output channel (Turner et al., arXiv 1906.04113).

    That of a channel c with output a is mean_b (sum_xy a * dL/da)^2 / 2; it counts once for each weight of the channel.
    """
    layers = weighted_layers(network)
    weights_of(network)
    outputs: list[tuple[str, Tensor]] = []

    def record(name: str, _module: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs.append((name, output))
        return output.clone()  # what follows may change it in place

    hooks = [layer.register_forward_hook(partial(record, name)) for name, layer in layers.items()]
    try:
        value = loss(main_output(network(images)), labels)
    finally:
        for hook in hooks:
            hook.remove()
    scores = {name: images.new_zeros(()) for name in layers}
    reached = [(name, output) for name, output in outputs if output.requires_grad]
    grads = gradients(value, [output for _, output in reached])
    for (name, output), grad in zip(reached, grads, strict=True):
        layer = layers[name]
        sensitivity = output.detach() * grad
        others = range(2, sensitivity.dim()) if isinstance(layer, nn.Conv2d) else range(1, sensitivity.dim() - 1)
        if others:
            sensitivity = sensitivity.sum(tuple(others))
        of_channels = sensitivity.square().mean(0) / 2
        scores[name] = scores[name] + of_channels.sum() * layer.weight[0].numel()
    return scores


def _weights_and_gradients(
    network: nn.Module, images: Tensor, labels: Tensor, loss: Loss
) -> tuple[dict[str, Tensor], list[Tensor]]:
    weights = weights_of(network)
    return weights, gradients(loss(main_output(network(images)), labels), list(weights.values()))
