"""How close decoded pictures are to their source: PSNR, MS-SSIM, VMAF, distance in a network's features."""

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nnvvc.errors import ToolFailed
from nnvvc.evaluation.commands import FFMPEG, run
from nnvvc.evaluation.networks import Rgb, TaskNetwork
from nnvvc.picture import Picture, Plane

PSNR_CEILING = 100.0
"""PSNR of identical pictures, so that means and curves stay finite."""

_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MS_SSIM_WINDOW, _MS_SSIM_SIGMA = 11, 1.5
MS_SSIM_MINIMUM = (_MS_SSIM_WINDOW - 1) * 2 ** (len(_MS_SSIM_WEIGHTS) - 1) + 1
"""Smallest side, in samples, for which MS-SSIM of five scales is defined."""


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float) -> float:
    """Peak signal-to-noise ratio in dB of two arrays of one shape."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return PSNR_CEILING if error == 0 else min(PSNR_CEILING, 10 * np.log10(peak**2 / error))


def picture_psnr(reference: Picture, decoded: Picture) -> dict[str, float]:
    """PSNR of Y, U and V, and (6 Y + U + V) / 8, at the pictures' own depth (peak 1023 at 10 bits)."""
    peak = float((1 << reference.format.bit_depth) - 1)
    y, u, v = (psnr(a, b, peak) for a, b in zip(reference.planes, decoded.planes, strict=True))
    return {"psnr_y": y, "psnr_u": u, "psnr_v": v, "psnr_yuv": (6 * y + u + v) / 8}


def ms_ssim(reference: Plane, decoded: Plane, peak: float) -> float | None:
    """Multi-scale SSIM of two luma planes, 0 to 1 (Wang, Simoncelli and Bovik 2003); None for small ones.

    Five scales, Gaussian window 11x11 of sigma 1.5 at valid positions, 2x2 means between the scales.
    """
    if min(reference.shape) < MS_SSIM_MINIMUM:
        return None
    a, b = reference.astype(np.float64), decoded.astype(np.float64)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    result = 1.0
    for scale, weight in enumerate(_MS_SSIM_WEIGHTS):
        if scale:
            a, b = _halve(a), _halve(b)
        mean_a, mean_b = _window(a), _window(b)
        var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
        covariance = _window(a * b) - mean_a * mean_b
        similarity = (2 * covariance + c2) / (var_a + var_b + c2)
        if scale == len(_MS_SSIM_WEIGHTS) - 1:
            similarity = similarity * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        result *= max(0.0, float(similarity.mean())) ** weight
    return result


def vmaf(reference: Path, decoded: Path) -> list[float]:
    """VMAF (model vmaf_v0.6.1) of every frame of two y4m files, by the FFmpeg binary. Raises ToolFailed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reference.y4m").symlink_to(reference.resolve())
        (folder / "decoded.y4m").symlink_to(decoded.resolve())
        graph = "libvmaf=log_path=vmaf.json:log_fmt=json:n_threads=1"
        # One rate for both: FFmpeg pairs frames by time, and decoded files may state another rate.
        inputs = ["-r", "25", "-i", "decoded.y4m", "-r", "25", "-i", "reference.y4m"]
        run([FFMPEG, "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"], folder)
        try:
            frames = json.loads((folder / "vmaf.json").read_text())["frames"]
            return [float(frame["metrics"]["vmaf"]) for frame in frames]
        except (OSError, ValueError, KeyError) as error:
            raise ToolFailed(f"ffmpeg wrote no VMAF: {error}") from error


def feature_distance(
    network: TaskNetwork, layers: Sequence[str], reference: Iterable[Rgb], decoded: Iterable[Rgb]
) -> float:
    """Mean over pictures and layers of the squared feature difference over the reference's mean square."""
    distances = []
    for a, b in zip(reference, decoded, strict=True):
        before = network.run(network.prepare(a)[0], layers)
        after = network.run(network.prepare(b)[0], layers)
        distances += [
            float(np.mean((x - y) ** 2) / max(1e-12, float(np.mean(x**2))))
            for x, y in zip(before, after, strict=True)
        ]
    return float(np.mean(distances))


def _window(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    half = _MS_SSIM_WINDOW // 2
    blurred = cv2.GaussianBlur(plane, (_MS_SSIM_WINDOW, _MS_SSIM_WINDOW), _MS_SSIM_SIGMA)
    return np.asarray(blurred[half:-half, half:-half], np.float64)


def _halve(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return np.asarray((even[0::2, 0::2] + even[0::2, 1::2] + even[1::2, 0::2] + even[1::2, 1::2]) / 4)
