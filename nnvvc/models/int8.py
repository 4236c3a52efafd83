"""oneDNN's convolution in 8 bits: what the exact networks and the quantised filters are both made of."""

import torch
from torch import Tensor


class PackedConv:
    """Weights ready for it. weight: int8 (out, in, k, k); scale: float32 (out,), a step of each row of them.

    On a processor without VNNI sums are exact where no weight is beyond `layers.WEIGHT_MAX`.
    """

    def __init__(self, weight: Tensor, scale: Tensor, stride: list[int], pad: list[int]) -> None:
        self._scale, self._geometry = scale, (stride, pad, [1, 1])
        self._zero = torch.zeros(len(weight), dtype=torch.int32)
        self._packed = torch.ops.onednn.qconv_prepack(weight, scale, 1.0, 0, *self._geometry, 1, None)

    def __call__(
        self,
        x: Tensor,
        bias: Tensor,
        kind: torch.dtype = torch.float32,
        *,
        unit: float = 1.0,
        zero: int = 0,
        then: str = "none",
    ) -> Tensor:
        """x: uint8 (N, C, H, W), channels last, in steps of `unit` from `-zero * unit` on. bias: float32
        (out,). kind: of the result; uint8 is rounded to the nearest and clipped. then: `relu`, or `none`.
        """
        weights = self._packed, self._scale, self._zero, bias
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            x, unit, zero, *weights, *self._geometry, 1, 1.0, 0, kind, then, [], ""
        )
        return result
