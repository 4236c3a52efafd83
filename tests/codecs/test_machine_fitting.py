"""The video filter for machines that follows its content: fitted by features, sent as updates, followed."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from nnvvc.adapt import loss_networks
from nnvvc.adapt.descent import Candidate, Values
from nnvvc.api import decode_chunks, encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.filter_update import FilterUpdate
from nnvvc.bitstream.header import Pipeline, StreamHeader
from nnvvc.bitstream.nal import join_annex_b, split_annex_b
from nnvvc.bitstream.sei import NNPF_CHARACTERISTICS, SeiType, read_payload_of
from nnvvc.codecs import adapted, machine_fitting
from nnvvc.codecs.filter_updates import UPDATE_TAG, Change, FilterState, update_messages
from nnvvc.codecs.fitting import BEFORE, Bits, best_fit
from nnvvc.codecs.machine_fitting import MachineFitting
from nnvvc.codecs.neighbours import Placed
from nnvvc.codecs.output_order import OutputOrder, PictureFacts
from nnvvc.entropy.small_numbers import encode_numbers
from nnvvc.errors import ConfigError, DamagedStream, StreamError
from nnvvc.models import registry
from nnvvc.models.filters import FilterConfig, PictureFilter, save_filter
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings
from tests.codecs.loss_networks import use_loss_networks
from tools.content import clip

QP = 37
SOURCE = PictureFormat(160, 96)
HALF = Fraction(1, 2)


def base() -> PictureFilter:
    """A filter of video that changes nothing."""
    torch.manual_seed(1)
    config = FilterConfig((4, 4, 4), (0, 0), ups=(1, 2), video=True, leak=0.1)
    return PictureFilter(config).eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def filters_and_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for file in registry.WEIGHTS.iterdir():
        if not file.name.startswith("filter_video"):
            (tmp_path / file.name).symlink_to(file)
    save_filter(base(), tmp_path / "filter_video.safetensors", {})
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    registry.reference.cache_clear()
    use_loss_networks(tmp_path, monkeypatch)
    yield
    registry.reference.cache_clear()
    loss_networks.loss_network.cache_clear()


def fitting(scale: Fraction = HALF) -> MachineFitting:
    video = VideoFormat(SOURCE, Fraction(25), 4)
    return MachineFitting(base(), StreamHeader(Pipeline.VVC, video, scale))


def darker(width: int, height: int, by: int) -> Picture:
    """A decoded picture that is darker than its original everywhere."""
    luma = np.full((height, width), 500 - by, np.uint16)
    chroma = np.full((height // 2, width // 2), 512, np.uint16)
    return Picture((luma, chroma, chroma), PictureFormat(width, height, 10))


@pytest.mark.parametrize("scale", [Fraction(1), Fraction(3, 4), HALF])
def test_biases_are_fitted_to_what_networks_see(scale: Fraction) -> None:
    fit = fitting(scale)
    width, height = int(SOURCE.width * scale), int(SOURCE.height * scale)
    pair = darker(width, height, 60), darker(SOURCE.width, SOURCE.height, 0)
    samples = [fit.sample(Placed(pair[0], PictureFacts(layer)), pair[1]) for layer in (1, 2, 3)]
    assert fit.gain(samples, QP, None) == pytest.approx(0, abs=0.02)
    found = best_fit(fit, samples, QP, Bits(10**6), BEFORE, 1.5)
    assert found.update is not None and found.gain > 0.2
    # What is in force needs no message, and what costs more than it is worth is not sent.
    assert best_fit(fit, samples, QP, Bits(10**6), found.state, 0.0).update is None
    assert best_fit(fit, samples, QP, Bits(1000), BEFORE, 0.2).update is None


def test_pictures_too_small_for_networks_are_left_alone() -> None:
    video = VideoFormat(PictureFormat(24, 16), Fraction(25), 4)
    fit = MachineFitting(base(), StreamHeader(Pipeline.VVC, video))
    samples = [fit.sample(Placed(darker(24, 16, 60), PictureFacts(1)), darker(24, 16, 0))]
    start = np.zeros(fit.count, np.float32)
    (found,) = fit.candidates(samples, QP, start, 1.0)
    assert found.values is start


def encoded(
    monkeypatch: pytest.MonkeyPatch, codec: str = "vvc", scale: Fraction = HALF
) -> tuple[bytes, VideoFormat]:
    """A stream with an update in each of its groups, of any biases, whether it pays or not."""
    monkeypatch.setattr(adapted, "SHORTEST", 4)
    monkeypatch.setattr(machine_fitting, "LARGEST_SHARE", 100.0)
    monkeypatch.setattr(MachineFitting, "steps", range(14, 16))

    # What is measured last is best.
    later = count(1000, 1000)

    def gain(self: MachineFitting, samples: object, key_qp: int, change: Change | None) -> float:
        return 0.0 if change is None else float(next(later))

    def candidates(
        self: MachineFitting, samples: object, key_qp: int, start: Values, seconds: float
    ) -> list[Candidate]:
        return [Candidate(start + np.float32(0.05))]

    monkeypatch.setattr(MachineFitting, "gain", gain)
    monkeypatch.setattr(MachineFitting, "candidates", candidates)
    video = VideoFormat(SOURCE, Fraction(25), 12)
    options = EncodeOptions(
        codec=codec,
        purpose="machines",
        vvc=VvcSettings(QP, "faster", 8, "ra", threads=1),
        scale=scale,
        filter="machines",
        adapt_seconds=1,
    )
    return b"".join(encode_frames(clip(SOURCE, 12), video, options)), video


@pytest.mark.parametrize(
    ("codec", "scale"), [("vvc", Fraction(1)), ("vvc", HALF), ("hybrid", Fraction(3, 4))]
)
def test_updates_travel_and_are_followed(
    codec: str, scale: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, video = encoded(monkeypatch, codec, scale)
    order = OutputOrder()
    for unit in Demuxer([stream]):
        order.add(unit)
    facts = [order.next() for _ in range(12)]
    updates = [
        values
        for fact in facts
        for message in fact.messages
        if message.type == SeiType.NNPF_CHARACTERISTICS
        for values in [read_payload_of(NNPF_CHARACTERISTICS, message)]
        if values["nnpfc_uri_tag"] == UPDATE_TAG
    ]
    assert len(updates) == 2 and {v["nnpfc_id"] for v in updates} == {registry.FILTER_VIDEO}
    shown = list(decode_chunks([stream], DecodeOptions(purpose="machines")))
    off = list(decode_chunks([stream], DecodeOptions(purpose="machines", filter="off")))
    assert len(shown) == video.frames
    change = [
        float(np.abs(a.planes[0].astype(float) - b.planes[0]).mean()) for a, b in zip(shown, off, strict=True)
    ]
    # The filter enlarges and does no more by itself; updates come with the second picture.
    assert change[1] > change[0] + 0.5
    # Other decoders see the same stream.
    plain = b"".join(join_annex_b(unit.vvc_nals()) for unit in Demuxer([stream]))
    if codec == "vvc":
        coded = decode_chunks([stream], DecodeOptions(filter="off", coded=True))
        for a, b in zip(coded, decode_chunks([plain]), strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


def test_damage_is_a_named_error_or_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, video = encoded(monkeypatch)
    nals = list(split_annex_b([stream]))
    at = next(i for i, n in enumerate(nals) if UPDATE_TAG.encode() in n)
    damaged = bytearray(nals[at])
    damaged[-12] ^= 0x41
    changed = join_annex_b([*nals[:at], bytes(damaged), *nals[at + 1 :]])
    with pytest.raises(StreamError):
        list(decode_chunks([changed], DecodeOptions(purpose="machines")))
    shown = decode_chunks([changed], DecodeOptions(purpose="machines", conceal=True))
    assert len(list(shown)) == video.frames
    assert any("without updates" in note for note in shown.notes)


def test_a_map_of_where_it_is_off_is_refused() -> None:
    state = FilterState(registry.FILTER_VIDEO, 3, None)
    update = FilterUpdate(10, encode_numbers([1, 2, 3]), block_map=b"\x01")
    with pytest.raises(DamagedStream, match="everywhere"):
        messages = tuple(update_messages(update, registry.FILTER_VIDEO, resampling=True))
        state.follow(PictureFacts(1, messages))


def test_without_networks_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNVVC_NETS")
    with pytest.raises(ConfigError, match="NNVVC_NETS"):
        encoded(monkeypatch)
