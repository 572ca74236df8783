"""The networks that boards are compared by, as layer tables; weights are random."""

from __future__ import annotations

from collections.abc import Callable

from kwsd.bench.layers import Table


def resnet50() -> Table:
    """ResNet-50 at 224 x 224 (He et al., CVPR 2016), stride in the 3 x 3 convolution."""
    table = Table("resnet50")
    x = table.max_pool(table.conv(table.image(224), 64, 7, 2), 3, 2)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = table.conv(table.conv(x, width), width, 3, stride)
            y = table.conv(y, 4 * width, relu=False)
            if block == 0:
                x = table.conv(x, 4 * width, 1, stride, relu=False)
            x = table.add(x, y, relu=True)
    table.dense(table.global_pool(x), 1000)
    return table


def mobilenet_v1() -> Table:
    """MobileNet 1.0 at 224 x 224 (Howard et al., 2017)."""
    table = Table("mobilenet_v1")
    x = table.conv(table.image(224), 32, 3, 2)
    widths = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for width, stride in [*widths, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        x = table.conv(table.depthwise(x, 3, stride), width)
    table.dense(table.global_pool(x), 1000)
    return table


def mobilenet_v2() -> Table:
    """MobileNet-V2 1.0 at 224 x 224 (Sandler et al., CVPR 2018)."""
    table = Table("mobilenet_v2")
    x = table.conv(table.image(224), 32, 3, 2)
    # expansion, width, repeats, stride of the first
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2))
    for expansion, width, repeats, first in (*plan, (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for repeat in range(repeats):
            stride = first if repeat == 0 else 1
            y = x if expansion == 1 else table.conv(x, expansion * table.layers[x].size[0])
            y = table.conv(table.depthwise(y, 3, stride), width, relu=False)
            x = table.add(x, y) if repeat > 0 else y
    x = table.conv(x, 1280)
    table.dense(table.global_pool(x), 1000)
    return table


def yolo_tiny() -> Table:
    """A detector of the size of YOLOv3-tiny at 416 x 416 (Redmon and Farhadi, 2018), rectified."""
    table = Table("yolo_tiny")
    x, middle = table.image(416), 0
    for width in (16, 32, 64, 128, 256):
        middle = table.conv(x, width, 3)
        x = table.max_pool(middle, 2, 2)
    x = table.max_pool(table.conv(x, 512, 3), 2, 1)
    x = table.conv(table.conv(x, 1024, 3), 256)
    table.conv(table.conv(x, 512, 3), 255, relu=False)
    x = table.upsample(table.conv(x, 128))
    table.conv(table.conv(table.concat(x, middle), 256, 3), 255, relu=False)
    return table


def dense(kernel: int) -> Table:
    """Nothing but large convolutions, the kindest work for a runtime: shows its ceiling."""
    table = Table(f"dense_{kernel}x{kernel}")
    x = table.image(28, 256)
    for _ in range(4):
        x = table.conv(x, 256, kernel)
    return table


CEILINGS: dict[str, Callable[[], Table]] = {
    "dense_1x1": lambda: dense(1),
    "dense_3x3": lambda: dense(3),
}
"""Measured beside every other network; the better rate of both is a runtime's ceiling."""

NETWORKS: dict[str, Callable[[], Table]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "resnet50": resnet50,
    "yolo_tiny": yolo_tiny,
}
