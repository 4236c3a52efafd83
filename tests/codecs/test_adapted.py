"""The filter for people that follows its content: choice, messages, streams, damage."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from nnvvc.adapt.descent import Candidate
from nnvvc.adapt.samples import Sample, decibels
from nnvvc.api import decode_chunks, encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.filter_update import FilterUpdate
from nnvvc.bitstream.groups import cut
from nnvvc.bitstream.nal import join_annex_b, split_annex_b
from nnvvc.bitstream.sei import SeiMessage, SeiType, nnpf_activation
from nnvvc.codecs import adapted, people_fitting
from nnvvc.codecs.filter_updates import UPDATE_TAG, FilterState, changed, update_messages
from nnvvc.codecs.fitting import BEFORE, Bits, best_fit
from nnvvc.codecs.output_order import OutputOrder, PictureFacts
from nnvvc.codecs.people_filter import filtered_planes
from nnvvc.codecs.people_fitting import RATE_PER_DECIBEL, PeopleFitting, blocks_off
from nnvvc.entropy.block_map import encode_blocks
from nnvvc.entropy.small_numbers import encode_numbers
from nnvvc.errors import DamagedStream, StreamError, ToolMissing
from nnvvc.models import registry
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.key_blend import KeyBlend, KeyBlendConfig
from nnvvc.models.people import save_people
from nnvvc.models.restoration import (
    OUTPUT_UNIT,
    RestorationConfig,
    RestorationFilter,
    quantiser_step,
)
from nnvvc.options import FILTER_MODELS, DecodeOptions, EncodeOptions
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import Gop, VvcSettings, decoder
from tools.content import clip

QP = 37
BESIDE = (0, 1, 2, 3, 4, -1)
SMALL = RestorationConfig((4, 4, 4), (0, 0, 0), neighbours=6)


def identity() -> RestorationFilter:
    torch.manual_seed(3)
    model = RestorationFilter(SMALL).eval().requires_grad_(False)
    model.head.weight[:] = 0
    return model


def quick_identity() -> KeyBlend:
    torch.manual_seed(3)
    model = KeyBlend(KeyBlendConfig((4, 4), (0, 0))).eval().requires_grad_(False)
    model.head.conv.weight[:] = 0
    return model


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Base filters that change nothing."""
    save_people(identity(), tmp_path / "filter_people.safetensors", {})
    save_people(quick_identity(), tmp_path / "filter_quick.safetensors", {})
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    registry.reference.cache_clear()
    yield
    registry.reference.cache_clear()


def activation(*, updated: bool) -> SeiMessage:
    target = {"target_id": registry.FILTER_PEOPLE, "target_base_flag": int(not updated)}
    return nnpf_activation(**target, persistence_flag=1)


def fitted(model: RestorationFilter) -> PeopleFitting:
    return PeopleFitting(registry.FILTER_PEOPLE, model, PictureFormat(160, 96))


def sent(update: FilterUpdate) -> list[SeiMessage]:
    return update_messages(update, registry.FILTER_PEOPLE, resampling=False)


def shown(*messages: SeiMessage, begins: bool = False) -> PictureFacts:
    return PictureFacts(1, messages, begins=begins)


def following(count: int, size: tuple[int, int] = (128, 128)) -> FilterState:
    return FilterState(registry.FILTER_PEOPLE, count, size)


def samples(shift: float, noise: float = 0.01) -> list[Sample]:
    """Decoded pictures that are darker than their originals by `shift`, and a little off besides."""
    torch.manual_seed(0)
    found = []
    for layer in range(4):
        luma, chroma = torch.rand(1, 1, 96, 160) * 0.5 + 0.2, torch.rand(1, 2, 48, 80) * 0.4 - 0.2
        wanted = luma + shift + noise * torch.randn_like(luma)
        found.append(
            Sample(
                luma.repeat(1, 7, 1, 1),
                chroma,
                wanted,
                chroma + noise * torch.randn_like(chroma),
                (layer, *BESIDE),
            )
        )
    return found


def test_a_group_gets_the_update_that_pays() -> None:
    model, group = identity(), samples(0.02)
    fit = best_fit(fitted(model), group, QP, Bits(400_000), BEFORE, 4.0)
    assert fit.update is not None and fit.gain > 0.2 * RATE_PER_DECIBEL
    count = Adaptable(model).count
    on, change = following(count, (160, 96)).follow(shown(activation(updated=True), *sent(fit.update)))
    assert on and change is not None and fit.state.change is not None
    assert np.array_equal(change.biases, fit.state.change.biases)
    qp = torch.tensor([float(QP)])
    filtered_by = changed(Adaptable(model), change)
    filtered = [filtered_planes(filtered_by, (s.luma, s.chroma), qp, s.layers) for s in group]
    assert RATE_PER_DECIBEL * decibels(group, filtered) == pytest.approx(fit.gain)
    # What is in force needs no message.
    again = best_fit(fitted(model), group, QP, Bits(400_000), fit.state, 0.0)
    assert again.update is None and again.gain == pytest.approx(fit.gain)


def test_candidates_are_judged_by_pictures_not_by_what_they_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    model, group = identity(), samples(0.02)
    fitting = fitted(model)
    bias = Adaptable(model).places["head.bias"]
    better, worse = (np.zeros(fitting.count, np.float32) for _ in range(2))
    shift = 0.02 / float(quantiser_step(torch.tensor(QP)) * OUTPUT_UNIT)
    better[bias][:4], worse[bias][:4] = shift, -shift
    promising = [Candidate(better, lambda _: 0.1), Candidate(worse, lambda _: 10.0)]
    monkeypatch.setattr(fitting, "candidates", lambda *_: promising)
    fit = best_fit(fitting, group, QP, Bits(400_000), BEFORE, 1.0)
    assert fit.update is not None and fit.gain > 0.2 * RATE_PER_DECIBEL
    assert fit.state.change is not None and (fit.state.change.biases[bias][:4] > 0).all()


def test_an_update_that_does_not_pay_is_not_sent() -> None:
    fit = best_fit(fitted(identity()), samples(0.02), QP, Bits(5_000), BEFORE, 0.5)
    assert fit.update is None and fit.bits == 0


def test_a_filter_that_hurts_is_off() -> None:
    model = identity()
    model.head.bias[:4] = 1.0
    fit = best_fit(fitted(model), samples(0.0), QP, Bits(400_000), BEFORE, 0.0)
    assert fit.gain == 0 and fit.update is not None and fit.bits < 8 * 100
    assert fit.state.change is not None and fit.state.change.off is not None and fit.state.change.off.all()
    # Base is right again: that is an update too.
    model.head.bias[:] = 0
    back = best_fit(fitted(model), samples(0.02), QP, Bits(40_000_000), fit.state, 4.0)
    assert back.update is not None and back.state.change is not None and back.state.change.off is None


def test_the_base_filter_is_off_where_it_hurts() -> None:
    luma, chroma = torch.full((1, 7, 130, 260), 0.5), torch.zeros(1, 2, 65, 130)
    model = identity()
    model.head.bias[:4] = 1.0
    better = filtered_planes(model, (luma, chroma), torch.tensor([float(QP)]), (0, *BESIDE))[0]
    wanted = luma[:, :1].clone()
    wanted[..., :128, :128] = better[..., :128, :128]
    sample = Sample(luma, chroma, wanted, chroma, (0, *BESIDE))
    fitting = PeopleFitting(registry.FILTER_PEOPLE, model, PictureFormat(260, 130))
    fit = best_fit(fitting, [sample], QP, Bits(400_000), BEFORE, 0.0)
    assert fit.update is not None and fit.gain > 0
    assert fit.state.change is not None and fit.state.change.off is not None
    assert fit.state.change.off.tolist() == [[0, 1, 1], [1, 1, 1]]


def test_blocks_where_the_filter_hurts_are_off() -> None:
    luma = torch.full((1, 1, 130, 260), 0.5)
    wanted = luma.clone()
    wanted[..., :128, :128] += 0.1
    chroma = torch.zeros(1, 2, 65, 130)
    sample = Sample(luma.repeat(1, 7, 1, 1), chroma, wanted, chroma, (0, *BESIDE))
    off = blocks_off([sample], [(luma + 0.1, chroma)])
    assert off.tolist() == [[0, 1, 1], [1, 1, 1]]
    # On what the map turns off, the filter changes nothing.
    model = identity()
    model.head.bias[:] = 1.0
    y, c = filtered_planes(model, (sample.luma, chroma), torch.tensor([float(QP)]), (0, *BESIDE), off)
    assert torch.equal(y[..., 128:], luma[..., 128:]) and (y[..., :128, :128] > 0.5).all()
    assert torch.equal(c[..., 64:], chroma[..., 64:]) and (c[..., :64, :64] > 0).all()


def test_state_follows_the_messages() -> None:
    count = 5
    state = following(count)
    numbers = [1, 0, -2, 0, 3]
    first = sent(FilterUpdate(4, encode_numbers(numbers)))
    on, change = state.follow(shown(*first, activation(updated=True)))
    assert on and change is not None
    assert change.biases.tolist() == [0.25, 0, -0.5, 0, 0.75]
    assert state.follow(shown())[1] is change
    second = FilterUpdate(
        4, encode_numbers([1] * count), predicted=True, block_map=encode_blocks(np.ones((1, 1), np.uint8), 2)
    )
    on, change = state.follow(shown(*sent(second)))
    assert on and change is not None and change.off is not None
    assert change.biases.tolist() == [0.5, 0.25, -0.25, 0.25, 1.0] and change.off.all()
    assert state.follow(shown(activation(updated=False))) == (True, None)
    cancelled = nnpf_activation(target_id=registry.FILTER_PEOPLE, cancel_flag=1)
    assert state.follow(shown(cancelled)) == (False, None) == state.follow(shown())
    # Nothing of it holds in another coded video sequence.
    assert state.follow(shown(begins=True)) == (True, None)
    with pytest.raises(DamagedStream, match="not there"):
        following(count).follow(shown(*sent(second)))


def test_long_updates_travel_as_user_data() -> None:
    short = sent(FilterUpdate(4, b"ab"))
    long = sent(FilterUpdate(4, bytes(200)))
    assert [m.type for m in short] == [SeiType.NNPF_CHARACTERISTICS]
    assert [m.type for m in long] == [SeiType.USER_DATA_UNREGISTERED, SeiType.NNPF_CHARACTERISTICS]
    with pytest.raises(DamagedStream, match="user data"):
        following(5).follow(shown(*long[1:]))


def encoded(
    monkeypatch: pytest.MonkeyPatch, codec: str = "vvc", gop: Gop = "ra", filter_model: str = "quick"
) -> tuple[bytes, VideoFormat]:
    """A stream with an update in each of its groups, whether it pays or not."""
    monkeypatch.setattr(people_fitting, "RATE_PER_DECIBEL", 1000.0)
    monkeypatch.setattr(people_fitting, "LARGEST_SHARE", 1.0)
    monkeypatch.setattr(PeopleFitting, "steps", range(3, 12))
    monkeypatch.setattr(adapted, "SHORTEST", 4)
    fmt = PictureFormat(128, 96)
    video = VideoFormat(fmt, Fraction(25), 12)
    settings = VvcSettings(QP, "faster", 8, gop, threads=1)
    options = EncodeOptions(
        codec=codec, vvc=settings, filter="adapt", filter_model=filter_model, adapt_seconds=0.5
    )

    def brighter() -> Iterator[Picture]:
        for number, picture in enumerate(clip(fmt, 12)):
            # Pictures that differ by turns are hard to code, and leave errors to fit to.
            planes = (
                np.minimum(picture.planes[0] + 6 * (number % 2), 235).astype(np.uint16),
                *picture.planes[1:],
            )
            yield replace(picture, planes=planes)

    return b"".join(encode_frames(brighter(), video, options)), video


@pytest.mark.parametrize("filter_model", FILTER_MODELS)
def test_streams_play_everywhere_and_the_filter_is_followed(
    filter_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, video = encoded(monkeypatch, filter_model=filter_model)
    assert len(list(decode_chunks([stream]))) == video.frames
    order = OutputOrder()
    for unit in Demuxer([stream]):
        order.add(unit)
    facts = [order.next() for _ in range(12)]
    assert [f.layer for f in facts].count(0) == 2 and facts[0].layer == 0 == facts[8].layer
    kinds = [m for f in facts for m in f.messages]
    assert any(m.type == SeiType.NNPF_ACTIVATION for m in kinds)
    # One message of a kind in an access unit: VTM refuses several.
    assert all(len({m.type for m in f.messages}) == len(f.messages) for f in facts)
    assert any(SeiType.NNPF_CHARACTERISTICS in {m.type for m in facts[i].messages} for i in (1, 9))
    off = decode_chunks([stream], DecodeOptions(filter="off", coded=True))
    plain = b"".join(join_annex_b(unit.vvc_nals()) for unit in Demuxer([stream]))
    for a, b in zip(off, decode_chunks([plain]), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


def test_any_number_of_threads_gives_the_same_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, _ = encoded(monkeypatch)
    before = threading.active_count()
    one, three = (list(decode_chunks([stream], DecodeOptions(threads=n))) for n in (1, 3))
    for a, b in zip(one, three, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))
    pictures = iter(decode_chunks([stream], DecodeOptions(threads=3)))
    assert np.array_equal(next(pictures).planes[0], one[0].planes[0])
    del pictures
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_groups_that_are_cut_out_keep_their_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, _ = encoded(monkeypatch, gop="ra-closed")
    assert UPDATE_TAG.encode() in stream
    part = list(decode_chunks([b"".join(cut(Demuxer([stream]), range(1, 2), 11))]))
    whole = list(decode_chunks([stream]))[-len(part) :]
    off = list(decode_chunks([stream], DecodeOptions(filter="off")))[-len(part) :]
    assert len(part) == 11
    luma = [np.stack([p.planes[0].astype(int) for p in pictures]) for pictures in (whole, part, off)]
    # The filter is told the QP of the stream's first key picture, which is another one now.
    assert np.abs(luma[0] - luma[1]).mean() < 0.5 * np.abs(luma[0] - luma[2]).mean()


@pytest.mark.tool
@pytest.mark.parametrize("name", ["vvdecapp", "vtm"])
def test_other_decoders_decode_past_the_updates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        decoder(name).version()
    except ToolMissing as error:
        pytest.skip(str(error))
    stream, _ = encoded(monkeypatch)
    plain = b"".join(join_annex_b(unit.vvc_nals()) for unit in Demuxer([stream]))
    assert b"tag:nnvvc,2026:update" in plain
    other = decode_chunks([plain], DecodeOptions(decoder=name))
    for a, b in zip(other, decode_chunks([plain]), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


def test_a_damaged_update_is_a_named_error_or_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, video = encoded(monkeypatch)
    nals = list(split_annex_b([stream]))
    at = next(i for i, n in enumerate(nals) if b"tag:nnvvc,2026:update" in n)
    for byte in range(len(nals[at]) - 4, 8, -7):
        damaged = bytearray(nals[at])
        damaged[byte] ^= 0x41
        changed = join_annex_b([*nals[:at], bytes(damaged), *nals[at + 1 :]])
        try:
            list(decode_chunks([changed]))
        except StreamError:
            break
    else:
        pytest.fail("no damage to the update was noticed")
    shown = decode_chunks([changed], DecodeOptions(conceal=True))
    assert len(list(shown)) == video.frames
    assert any("filter" in note for note in shown.notes)
