"""Layer tables: a network as a list of layers with shapes and no weights.

Enough for the networks that embedded boards are compared by. Sizes are channels, height and width
of one image; convolutions pad so that stride 1 keeps the size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """One layer."""

    kind: str
    """input, conv, depthwise, add, max_pool, global_pool, upsample, concat or dense."""

    sources: tuple[int, ...]
    """Layers that it reads, by index."""

    size: Size
    """What it gives: channels, height, width."""

    kernel: int = 1
    """Side of the window."""

    stride: int = 1
    """Step of the window."""

    relu: bool = False
    """Whether negative values become 0 behind it."""


@dataclass
class Table:
    """A network under construction; every method adds a layer and gives its index.

    Parameters
    ----------
    name : str
        For tables and files.
    """

    name: str
    layers: list[Layer] = field(default_factory=list)

    def _add(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def _shrunk(self, source: int, stride: int) -> tuple[int, int, int]:
        channels, height, width = self.layers[source].size
        return channels, -(-height // stride), -(-width // stride)

    def image(self, side: int, channels: int = 3) -> int:
        """The input."""
        return self._add(Layer("input", (), (channels, side, side)))

    def conv(
        self, source: int, channels: int, kernel: int = 1, stride: int = 1, relu: bool = True
    ) -> int:
        """A convolution with bias."""
        _, height, width = self._shrunk(source, stride)
        size = (channels, height, width)
        return self._add(Layer("conv", (source,), size, kernel, stride, relu))

    def depthwise(self, source: int, kernel: int = 3, stride: int = 1) -> int:
        """A convolution of each channel by itself, with bias, rectified."""
        size = self._shrunk(source, stride)
        return self._add(Layer("depthwise", (source,), size, kernel, stride, True))

    def add(self, first: int, second: int, relu: bool = False) -> int:
        """Sum of two layers of one size."""
        size = self.layers[first].size
        if size != self.layers[second].size:
            raise ValueError(f"{self.name}: sum of {size} and {self.layers[second].size}")
        return self._add(Layer("add", (first, second), size, relu=relu))

    def max_pool(self, source: int, kernel: int, stride: int) -> int:
        """Largest value of a window."""
        return self._add(Layer("max_pool", (source,), self._shrunk(source, stride), kernel, stride))

    def global_pool(self, source: int) -> int:
        """Mean over the image."""
        return self._add(Layer("global_pool", (source,), (self.layers[source].size[0], 1, 1)))

    def upsample(self, source: int) -> int:
        """Every pixel twice in both directions."""
        channels, height, width = self.layers[source].size
        return self._add(Layer("upsample", (source,), (channels, 2 * height, 2 * width)))

    def concat(self, first: int, second: int) -> int:
        """Channels of two layers behind each other."""
        a, b = self.layers[first].size, self.layers[second].size
        if a[1:] != b[1:]:
            raise ValueError(f"{self.name}: {a} beside {b}")
        return self._add(Layer("concat", (first, second), (a[0] + b[0], *a[1:])))

    def dense(self, source: int, channels: int) -> int:
        """A fully connected layer with bias."""
        return self._add(Layer("dense", (source,), (channels, 1, 1)))

    @property
    def outputs(self) -> list[int]:
        """Layers that no other reads."""
        read = {source for layer in self.layers for source in layer.sources}
        return [index for index in range(len(self.layers)) if index not in read]
