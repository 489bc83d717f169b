"""A file with networks of one's own, as a user writes it."""

from __future__ import annotations

SOURCE = '''"""Networks of my own."""

import dataclasses
import sys

import torch
from torch import nn

print("imported")
ARGUMENTS = sys.argv


@dataclasses.dataclass
class Settings:
    width: int = 8


class Net(nn.Module):
    def __init__(self, width=8, channels=3, activation="relu"):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 5, padding=2)
        self.conv2 = nn.Conv2d(width, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)
        self.activation = getattr(torch, activation)

    def forward(self, x):
        print("running")
        x = self.activation(self.conv1(x))
        return self.head(torch.relu(self.conv2(x)).mean((2, 3)))


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, groups=2)


class Needy(nn.Module):
    def __init__(self, width, depth=1):
        super().__init__()


class Blocks:
    @staticmethod
    def small():
        return Net(4)


def build(width=6):
    return Net(width)


def number():
    return 3


def leave():
    sys.exit("no data")


net = Net(5)
if __name__ == "__main__":
    raise SystemExit("training")
'''
