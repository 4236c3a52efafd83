"""How a stock VVenC codes its key pictures without loss, so that they can be replaced by equal ones.

At the QPs below, transform skip quantises in steps of 1, 2, 4 or 8 of a 10-bit sample, and with hardly any
weight on the rate VVenC finds a mode without error for nearly every block. A picture made of multiples of the
step is thus reproduced, but for a few samples at the fastest presets.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nnvvc.picture import Picture
from nnvvc.vvc.irap.estimate import bits_per_pixel
from nnvvc.vvc.tools import VvcSettings

STEPS = 4
"""Number of steps: log2 of 0 to 3."""

_QP_OF_STEP = (-12, -2, 4, 10)

_MAX_BITS_PER_PIXEL = 7.8
"""FFmpeg's libvvenc takes access units of up to 8 bits a luma sample; VVenC needs less than our own writer.
"""

_GOP_SIZES = {"ra": 32, "ra-closed": 32, "ld": 8, "ai": 1}
"""VVenC's groups of pictures; it makes them shorter by itself where an intra period ends."""


def lossless_settings(settings: VvcSettings, log2_step: int) -> VvcSettings:
    """Settings under which key pictures of multiples of 1 << log2_step come out as they went in.

    What would change key pictures or their QP is off or has no strength there: the temporal filter at the
    ends of groups of pictures, the adaptation of QP by group, and intra pictures at scene cuts, which would
    not be replaced. All else stays as the preset has it. The caller's own parameters win.
    """
    gop_size = _GOP_SIZES[settings.gop]
    params: dict[str, str] = {
        "TransformSkip": "1",
        "BDPCM": "1",
        "TransformSkipLog2MaxSize": "5",
        "ChromaTS": "1",
        "LambdaModifierI": "0.001",
        # Other partitions make the lossless pictures smaller, which nobody sees, and take most of the time.
        "MaxMTTDepthI": "0",
        "IntraQPOffset": str(_QP_OF_STEP[log2_step] - settings.qp),
        "GOPQPA": "0",
    }
    if gop_size > 8:
        params["STA"] = "0"
    return replace(settings, params={**params, **_filter(settings.qp, gop_size), **settings.params})


def _filter(qp: int, gop_size: int) -> Mapping[str, str]:
    """VVenC's own strengths of its temporal filter (vvencCfg.cpp), but none at the ends of groups."""
    # VVenC would take five below QP 16; given as parameters, it then ends without a stream now and then.
    levels = min(4, max(1, gop_size.bit_length() - 1 - (qp >> 4)))
    if levels == 1:
        return {"MCTF": "0", "BIM": "0"}
    strength = min(2.0, max(0.0, (qp - 4) / 8))
    strengths = [f"{strength / (levels - i):.4f}" for i in range(levels - 1)] + ["0"]
    frames = [str(gop_size >> (levels - 1 - i)) for i in range(levels)]
    return {"MCTFFrame": ",".join(frames), "MCTFStrength": ",".join(strengths)}


def stepped(picture: Picture, log2_step: int) -> Picture:
    """The picture with its samples rounded to multiples of 1 << log2_step."""
    if log2_step == 0:
        return picture
    step = 1 << log2_step
    top = ((1 << picture.format.bit_depth) - 1) // step * step
    planes = ((plane.astype(np.int32) + step // 2) // step * step for plane in picture.planes)
    return Picture(tuple(np.minimum(plane, top).astype(np.uint16) for plane in planes), picture.format)


def smallest_step(picture: Picture) -> int:
    """log2 of the smallest step at which the encoder's buffer takes the picture; the largest in any case."""
    for log2_step in range(STEPS - 1):
        if bits_per_pixel(stepped(picture, log2_step), log2_step) <= _MAX_BITS_PER_PIXEL:
            return log2_step
    return STEPS - 1
