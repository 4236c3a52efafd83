"""Tasks: what is asked of decoded pictures, first per item (kept with the cell), then over the data set.

Scores per item are what is dear to compute: detections, labels, distances. What joins them (AP, tracks, mean
IoU) is cheap and made anew for every result file.
"""

import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnvvc.errors import ConfigError, ToolFailed
from nnvvc.evaluation.average_precision import GroundTruth, IouType, Matches, match
from nnvvc.evaluation.detection import Detections, Detector
from nnvvc.evaluation.fidelity import feature_distance, ms_ssim, picture_psnr, psnr, vmaf
from nnvvc.evaluation.items import DataSet, Item
from nnvvc.evaluation.networks import load_network
from nnvvc.evaluation.segmentation import Segmenter, confusion, mean_iou
from nnvvc.evaluation.tracking import track, tracking_scores

SCORE_VERSION = 1
"""Part of every score's name: raised when scoring changes, so that kept scores are made again."""

KINDS = ("detection", "agreement", "tracking", "segmentation", "features", "fidelity", "vmaf")

_detector = functools.cache(lambda name: Detector(load_network(name)))
_segmenter = functools.cache(lambda name: Segmenter(load_network(name)))
_network = functools.cache(load_network)


@dataclass(frozen=True, slots=True)
class Scorer:
    """One score per item. work: `detections`, `segmentation`, `features`, `fidelity` or `vmaf`."""

    work: str
    network: str = ""
    layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Names the score's file: the network's weights are part of it."""
        parts = [self.work, f"v{SCORE_VERSION}"]
        if self.network:
            layers = "-".join(self.layers)
            digest = hashlib.sha256(f"{_network(self.network).sha256} {layers}".encode()).hexdigest()
            parts += [self.network, digest[:12]]
        return "-".join(parts)

    def __call__(self, item: Item, decoded: Path) -> Any:
        if self.work == "detections":
            return [_detector(self.network).detect(rgb).to_json() for rgb in item.rgb(decoded)]
        if self.work == "segmentation":
            return _label_counts(item, decoded, self.network)
        if self.work == "features":
            network = _network(self.network)
            return feature_distance(network, self.layers, item.rgb(item.source), item.rgb(decoded))
        if self.work == "vmaf":
            frames = vmaf(item.source, decoded)
            if len(frames) != item.frames:
                raise ToolFailed(f"{item.name}: VMAF of {len(frames)} frames, not of {item.frames}")
            return float(np.mean(frames))
        return _fidelity(item, decoded)


@dataclass(frozen=True)
class Metric:
    """A quality of one codec at one point over the data set.

    value: None where it is not defined (MS-SSIM of small pictures). items: the same per item, where it has a
    meaning there. matches: what a bootstrap over pictures needs. of: names of the items that the value is of;
    None: all.
    """

    value: float | None
    items: Mapping[str, float | None] = field(default_factory=dict)
    matches: Matches | None = None
    of: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One entry of an experiment's tasks. area: smallest object, in square samples, that counts."""

    kind: str
    network: str = ""
    layers: tuple[str, ...] = ()
    min_area: float = 0.0

    @property
    def scorer(self) -> Scorer:
        work = {"detection": "detections", "agreement": "detections", "tracking": "detections"}
        return Scorer(work.get(self.kind, self.kind), self.network, self.layers)

    @property
    def is_machine(self) -> bool:
        """Whether its curves are task curves (Pareto front) rather than fidelity curves."""
        return self.kind not in ("fidelity", "vmaf", "features")

    def metrics(self, data: DataSet, scores: Sequence[Any], reference: Sequence[Any]) -> dict[str, Metric]:
        """Over the data set, from the scores of its items in order; reference: those of the sources."""
        if self.kind in ("detection", "agreement"):
            return self._average_precision(data, scores, reference)
        if self.kind == "tracking":
            return self._tracking(data, scores)
        if self.kind == "segmentation":
            counts = [np.array(s, np.int64) for s in scores]
            names = [i.name for i in data.items]
            per_item = {n: _finite(mean_iou(c)) for n, c in zip(names, counts, strict=True)}
            return {
                f"{self.network} agreement mIoU": Metric(_finite(mean_iou(np.sum(counts, axis=0))), per_item)
            }
        if self.kind == "fidelity":
            names = sorted({name for s in scores for name in s})
            return {_TITLES[n]: _mean(data, [s.get(n) for s in scores]) for n in names}
        title = "VMAF" if self.kind == "vmaf" else f"{self.network} feature similarity (dB)"
        values = scores if self.kind == "vmaf" else [-10 * np.log10(max(s, 1e-10)) for s in scores]
        return {title: _mean(data, [float(v) for v in values])}

    def _average_precision(
        self, data: DataSet, scores: Sequence[Any], reference: Sequence[Any]
    ) -> dict[str, Metric]:
        found = _by_image(data, scores)
        title = self.network
        truth = data.truth
        if self.kind == "agreement":
            sizes = {image: (i.height, i.width) for i in data.items for image in i.image_ids}
            truth = GroundTruth.from_detections(_by_image(data, reference), sizes)
            title += " agreement"
        if truth is None:
            raise ConfigError(
                f"task {self.kind} needs ground truth, which the data set has not: use agreement"
            )
        kinds: list[tuple[IouType, str]] = [("bbox", "box")]
        if _detector(self.network).has_masks and (truth.label_free or any(truth.for_masks().annotations)):
            kinds.append(("segm", "mask"))
        labelled = set(truth.image_ids)
        of = frozenset(i.name for i in data.items if not labelled.isdisjoint(i.image_ids))
        result = {}
        for iou_type, word in kinds:
            matches = match(truth, found, iou_type, (self.min_area, 1e10))
            value = matches.average_precision()[0]
            single = matches.average_precision(_one_per_item(data, matches))
            for name, total, parts in (
                ("AP", value.mean(), single.mean(axis=1)),
                ("AP50", value[0], single[:, 0]),
            ):
                per_item = {i.name: _finite(float(v)) for i, v in zip(data.items, parts, strict=True)}
                result[f"{title} {word} {name}"] = Metric(_finite(float(total)), per_item, matches, of)
        return result

    def _tracking(self, data: DataSet, scores: Sequence[Any]) -> dict[str, Metric]:
        truth = data.truth
        if truth is None:
            raise ConfigError("task tracking needs ground truth with track_id, which the data set has not")
        tracked_items = {a["image_id"] for a in truth.annotations if "track_id" in a}
        values: dict[str, dict[str, float | None]] = {"mota": {}, "idf1": {}}
        for item, score in zip(data.items, scores, strict=True):
            part = truth.only(item.image_ids)
            if tracked_items.isdisjoint(item.image_ids):
                continue
            tracks = track(Detections.from_json(frame) for frame in score)
            one = tracking_scores(part, item.image_ids, tracks, min_area=self.min_area)
            for name in values:
                values[name][item.name] = _finite(one[name])
        return {
            f"{self.network} {name.upper()}": replace(_mean_of(per_item), of=frozenset(per_item))
            for name, per_item in values.items()
        }


def read_tasks(spec: Mapping[str, Any]) -> list[Task]:
    """The tasks of an experiment: kind to network names (features: network to layers). Raises ConfigError."""
    tasks: list[Task] = []
    min_area = float(spec.get("min_area", 0))
    for kind, value in spec.items():
        if kind == "min_area":
            continue
        if kind not in KINDS:
            raise ConfigError(f"task {kind!r} is none of {', '.join(KINDS)}")
        if kind in ("fidelity", "vmaf"):
            tasks += [Task(kind)] if value else []
        elif kind == "features":
            tasks += [Task(kind, name, tuple(layers)) for name, layers in value.items()]
        else:
            tasks += [Task(kind, name, min_area=min_area) for name in value]
    if not tasks:
        raise ConfigError("the experiment names no task")
    return tasks


def network_hashes(tasks: Sequence[Task]) -> dict[str, str]:
    """SHA-256 of the weights of every network that the tasks use."""
    return {t.network: _network(t.network).sha256 for t in tasks if t.network}


_TITLES = {
    "psnr_y": "PSNR Y (dB)",
    "psnr_u": "PSNR U (dB)",
    "psnr_v": "PSNR V (dB)",
    "psnr_yuv": "PSNR 6:1:1 (dB)",
    "psnr_rgb": "PSNR RGB (dB)",
    "ms_ssim": "MS-SSIM Y (dB)",
}


def _fidelity(item: Item, decoded: Path) -> dict[str, float | None]:
    """Means over the frames of one item. MS-SSIM as -10 log10(1 - x), the scale on which curves are read."""
    frames: list[dict[str, float | None]] = []
    for before, after in zip(item.pictures(item.source), item.pictures(decoded), strict=True):
        values: dict[str, float | None] = dict(picture_psnr(before, after))
        peak = float((1 << before.format.bit_depth) - 1)
        similarity = ms_ssim(before.planes[0], after.planes[0], peak)
        values["ms_ssim"] = None if similarity is None else -10 * np.log10(max(1e-10, 1 - similarity))
        frames.append(values)
    if item.original is not None:
        import cv2

        pixels = np.asarray(cv2.imread(str(item.original), cv2.IMREAD_COLOR))
        frames[0]["psnr_rgb"] = psnr(pixels[..., ::-1], next(item.rgb(decoded)), 255.0)
    return {name: _mean_values([f[name] for f in frames]) for name in frames[0]}


def _label_counts(item: Item, decoded: Path, network: str) -> list[list[int]]:
    segmenter = _segmenter(network)
    classes = len(segmenter.network.classes)
    total = np.zeros((classes, classes), np.int64)
    for before, after in zip(item.rgb(item.source), item.rgb(decoded), strict=True):
        total += confusion(segmenter.labels(before), segmenter.labels(after), classes)
    counts: list[list[int]] = total.tolist()
    return counts


def _by_image(data: DataSet, scores: Sequence[Any]) -> dict[int, Detections]:
    images = itertools.chain.from_iterable(i.image_ids for i in data.items)
    frames = itertools.chain.from_iterable(scores)
    return {image: Detections.from_json(frame) for image, frame in zip(images, frames, strict=True)}


def _one_per_item(data: DataSet, matches: Matches) -> Any:
    """Weights that look at one item at a time: (items, pictures)."""
    return np.array([np.isin(matches.image_ids, i.image_ids) for i in data.items], np.float64)


def _mean(data: DataSet, values: Sequence[float | None]) -> Metric:
    return _mean_of({i.name: v for i, v in zip(data.items, values, strict=True)})


def _mean_of(per_item: Mapping[str, float | None]) -> Metric:
    return Metric(_mean_values(list(per_item.values())), per_item)


def _mean_values(values: Sequence[float | None]) -> float | None:
    """The mean, undefined where any part is."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
