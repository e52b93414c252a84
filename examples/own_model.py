"""Search over your own model and data."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import nasreg
from nasreg.nn import InputChoice, LayerChoice


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = LayerChoice({f"conv{k}": nn.Conv2d(1, 8, k, padding=k // 2) for k in (1, 3, 5)}, key="conv")
        self.skip = InputChoice(n_candidates=2, n_chosen=1, key="skip")
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        y = self.conv(x)
        return self.head(self.skip([y, y.relu()]).mean((2, 3)))


images = torch.randn(512, 1, 8, 8)
data = TensorDataset(images, (images.flatten(1).std(1) > 1).long())
result = nasreg.search(Net, data, algorithm="darts", seed=0, trainer={"epochs": 5, "lr": 0.1})
print(result.architecture.to_json())
plain = result.model()  # an ordinary nn.Module for your own training loop
