"""The precision that networks which need not be exact compute with."""

from functools import cache

import torch


def reduced_precision(device: str = "cpu", wanted: bool = True) -> torch.autocast:
    """Inside, networks multiply in bfloat16, where the device does so in hardware: emulated it is some ten
    times slower than float32. device: a torch device type. wanted: false for float32 everywhere.
    """
    enabled = wanted and product_dtype(device) == torch.bfloat16
    return torch.autocast(device, torch.bfloat16, enabled=enabled)


def product_dtype(device: str = "cpu") -> torch.dtype:
    """The type in which the device multiplies matrices fastest, where bfloat16 is exact enough."""
    return torch.bfloat16 if device != "cpu" or has_bfloat16() else torch.float32


@cache
def has_bfloat16() -> bool:
    """Whether this machine's processor multiplies in bfloat16."""
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported
