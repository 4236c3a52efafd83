"""The filter for machines around VVC: real streams, with a small filter made here."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from nnvvc.adapt import loss_networks, regions
from nnvvc.api import decode_chunks, encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.key_slice import PictureCodec
from nnvvc.bitstream.nal import NalHeader, NalUnitType
from nnvvc.bitstream.sei import SeiType, read_known, read_sei
from nnvvc.codecs import cost, filtering, quality_choice
from nnvvc.codecs.fitting import Judged
from nnvvc.codecs.hybrid import HybridCodec
from nnvvc.codecs.key_pictures import DecodedKey, IntraKeys
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.people_fitting import PeopleFitting
from nnvvc.entropy.block_map import decode_blocks
from nnvvc.errors import ConfigError, UnknownModel
from nnvvc.models import registry
from nnvvc.models.filters import (
    KEY_QP_OFFSET,
    FilterConfig,
    PictureFilter,
    load_filter,
    save_filter,
)
from nnvvc.models.key_blend import SAID, KeyBlend, KeyBlendConfig
from nnvvc.models.people import save_people
from nnvvc.models.restoration import (
    BLENDED,
    OUTPUT_UNIT,
    RestorationConfig,
    RestorationFilter,
    quantiser_step,
)
from nnvvc.options import PURPOSES, DecodeOptions, EncodeOptions, Purpose
from nnvvc.picture import Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import Gop, VvcSettings
from tests.codecs.loss_networks import use_loss_networks

QP = 41


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A filter that adds 0.1 to luma, whatever it sees, and leaves chroma as it is."""
    model = PictureFilter(FilterConfig(widths=(4, 4, 4), blocks=(0, 0))).requires_grad_(False)
    for up, head in model.branches[0].heads.items():
        head.bias[: 4 * int(up) ** 2] = 0.1
    people = RestorationFilter(RestorationConfig((4, 4, 4), (0, 0, 0))).requires_grad_(False)
    people.head.weight[:] = 0
    people.head.bias[:4], people.head.bias[4:] = 1.0, 0.5
    save_people(people, tmp_path / "filter_people.safetensors", {})
    quick = KeyBlend(KeyBlendConfig((4, 4), (0, 0))).requires_grad_(False)
    quick.head.conv.weight[:] = 0
    quick.head.conv.bias[:] = torch.arange(SAID) >= SAID - BLENDED**2
    save_people(quick, tmp_path / "filter_quick.safetensors", {})
    path = tmp_path / "filter_machines.safetensors"
    save_filter(model, path, {})
    save_filter(by_layer(), tmp_path / "filter_video.safetensors", {})
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    registry.reference.cache_clear()
    yield path
    registry.reference.cache_clear()


def by_layer() -> PictureFilter:
    """Adds 0.1 to luma, and 0.02 more for every layer above the key pictures."""
    config = FilterConfig((4, 4, 4), (0, 0), ups=(1, 2), video=True)
    model = PictureFilter(config).requires_grad_(False)
    # One channel knows the layer and nothing else, from its way up to the heads.
    for rows in (
        model.enter.conv.weight[0],
        model.enter.conv.bias[:1],
        model.enter.bias.weight[0],
        model.up0.conv.weight[:4],
        model.up0.conv.bias[:4],
        model.branches[0].block.second.weight[0],
        model.branches[0].block.second.bias[:1],
    ):
        rows.zero_()
    model.up0.bias.weight[:4, 5] = 3
    for up, head in model.branches[0].heads.items():
        head.bias[: 4 * int(up) ** 2] = 0.1
        head.weight[: 4 * int(up) ** 2, 0, 1, 1] = 0.02
    return model


def video(width: int = 150, height: int = 98, *, still: bool = False) -> VideoFormat:
    return VideoFormat(PictureFormat(width, height), Fraction(25), 1 if still else 5, still)


def frames(fmt: VideoFormat) -> list[Picture]:
    pictures = []
    for t in range(fmt.frames or 1):
        y, x = np.mgrid[: fmt.picture.height, : fmt.picture.width]
        luma = (90 + 30 * np.sin((x + 3 * t) / 9) + 20 * np.cos(y / 7)).astype(np.uint16)
        chroma = np.full((fmt.picture.chroma_height, fmt.picture.chroma_width), 120, np.uint16)
        pictures.append(Picture((luma, chroma, chroma + np.uint16(9)), fmt.picture))
    return pictures


def encoded(fmt: VideoFormat, scale: Fraction = Fraction(1), filter_name: str = "machines") -> bytes:
    settings = VvcSettings(
        qp=QP, preset="faster", intra_period=4, gop="ai" if fmt.still else "ra-closed", threads=1
    )
    options = EncodeOptions(codec="vvc", vvc=settings, scale=scale, filter=filter_name)
    return b"".join(encode_frames(frames(fmt), fmt, options))


def decoded(stream: bytes, **options: object) -> list[Picture]:
    return list(decode_chunks([stream], DecodeOptions(**options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(1, 4)])
def test_machines_get_the_filtered_picture_and_people_the_plain_one(scale: Fraction) -> None:
    fmt = video(still=True)
    stream = encoded(fmt, scale)
    (plain,) = decoded(stream)
    (filtered,) = decoded(stream, purpose="machines")
    (off,) = decoded(stream, purpose="machines", filter="off")
    assert filtered.format == fmt.picture
    assert all(np.array_equal(a, b) for a, b in zip(plain.planes, off.planes, strict=True))
    inner = (slice(8, -8), slice(8, -8))
    difference = filtered.planes[0].astype(int)[inner] - plain.planes[0].astype(int)[inner]
    assert abs(difference.mean() - 0.1 * 219) < 0.7
    assert np.abs(filtered.planes[1].astype(int) - plain.planes[1]).max() <= 2


def test_people_get_their_own_filter() -> None:
    fmt = video(still=True)
    stream = encoded(fmt, filter_name="base")
    (filtered,) = decoded(stream)
    (off,) = decoded(stream, filter="off")
    (machines,) = decoded(stream, purpose="machines")
    assert all(np.array_equal(a, b) for a, b in zip(off.planes, machines.planes, strict=True))
    step = float(quantiser_step(torch.tensor(QP - KEY_QP_OFFSET))) * OUTPUT_UNIT
    for plane, plain, wanted in zip(filtered.planes, off.planes, (219, 112, 112), strict=True):
        assert abs((plane.astype(int) - plain).mean() - wanted * step) < 0.7
    with pytest.raises(ConfigError, match="--scale 1"):
        encoded(fmt, Fraction(1, 2), "base")


@pytest.mark.parametrize("gop", ["ra", "ai"])
@pytest.mark.parametrize("purpose", ["machines", "people"])
def test_hybrid_streams_are_filtered_and_still_play(
    purpose: Purpose, gop: Gop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key pictures by VVC intra: the QP that the filter needs is in a stream within the stream."""
    # This one makes everything brighter, and would be off.
    monkeypatch.setattr(PeopleFitting, "judged", lambda *_: Judged(1.0))
    fmt = video()
    settings = VvcSettings(QP, "faster", 1 if gop == "ai" else 4, gop, threads=1)
    names = {"machines": "machines", "people": "base"}
    options = EncodeOptions(codec="hybrid", vvc=settings, filter=names[purpose])
    keys = IntraKeys(settings, fmt.fps)
    coder = HybridCodec(lambda *_: keys, lambda _: keys)
    stream = b"".join(coder.encode(iter(frames(fmt)), fmt, options))
    shown, plain = (
        list(coder.decode(Demuxer([stream]), DecodeOptions(purpose=purpose, filter=choice)))
        for choice in ("auto", "off")
    )
    assert len(shown) == len(plain) == fmt.frames
    step = float(quantiser_step(torch.tensor(QP - KEY_QP_OFFSET))) * OUTPUT_UNIT
    units = Demuxer([stream])
    layers = {unit.poc: 0 if unit.irap else unit.temporal_id + 1 for unit in units}
    assert len(set(layers.values())) == (3 if gop == "ra" else 1)
    for number, (a, b) in enumerate(zip(shown, plain, strict=True)):
        wanted = 219 * (0.1 + 0.02 * layers.get(number, 0) if purpose == "machines" else step)
        assert abs((a.planes[0].astype(int) - b.planes[0]).mean() - wanted) < 0.7
    first = Demuxer([stream]).first
    kinds = [m.type for n in first.nals if n[1] >> 3 == NalUnitType.PREFIX_SEI for m in read_sei(n)]
    assert kinds.count(SeiType.NNPF_CHARACTERISTICS) == 1
    exported = b"".join(coder.export(Demuxer([stream])))
    assert len(list(decode_chunks([exported]))) == fmt.frames


@pytest.mark.parametrize("filter_name", ["machines", "none"])
def test_machines_see_learned_key_pictures_as_they_are(filter_name: str) -> None:
    """People and VVC get what the adapter makes of them."""

    class Learned(IntraKeys):
        def decode(self, codec: PictureCodec, data: bytes, fmt: PictureFormat) -> DecodedKey:
            found = super().decode(codec, data, fmt).picture
            learned = tuple(np.full_like(p, 400) for p in found.planes)
            return DecodedKey(found, Picture(learned, found.format))

    fmt = video()
    settings = VvcSettings(QP, "faster", 4, "ra", threads=1)
    options = EncodeOptions(codec="hybrid", vvc=settings, filter=filter_name, scale=Fraction(1, 2))
    keys = Learned(settings, fmt.fps)
    coder = HybridCodec(lambda *_: keys, lambda _: keys)
    stream = b"".join(coder.encode(iter(frames(fmt)), fmt, options))
    machines, people = (
        list(coder.decode(Demuxer([stream]), DecodeOptions(purpose=purpose))) for purpose in PURPOSES
    )
    assert [bool((p.planes[0] == 100).all()) for p in machines] == [True, False, False, False, True]
    for seen, shown in zip(machines[1:4], people[1:4], strict=True):
        difference = abs((seen.planes[0].astype(int) - shown.planes[0]).mean())
        assert difference > 20 if filter_name == "machines" else difference == 0


def test_coded_depth_is_kept_on_demand() -> None:
    fmt = video(still=True)
    (filtered,) = decoded(encoded(fmt, Fraction(1, 2)), purpose="machines", coded=True)
    assert filtered.format == replace(fmt.picture, bit_depth=10)


def test_the_rest_of_the_stream_is_what_it_is_without_the_filter() -> None:
    fmt = video()
    with_filter, without = encoded(fmt), encoded(fmt, filter_name="none")
    kept = [
        [
            n
            for n in unit.vvc_nals()
            if NalHeader.read(n).type not in (NalUnitType.PREFIX_SEI, NalUnitType.SUFFIX_SEI)
        ]
        for unit in Demuxer([with_filter])
    ]
    assert kept == [unit.vvc_nals() for unit in Demuxer([without])]
    for a, b in zip(decoded(with_filter), decoded(without), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


@pytest.mark.parametrize("scale", [Fraction(1), Fraction(3, 4)])
def test_videos_announce_the_filter_in_standard_messages(scale: Fraction) -> None:
    stream = encoded(video(), scale)
    found = []
    for unit in Demuxer([stream]):
        for nal in unit.nals:
            kind = NalHeader.read(nal).type
            if kind in (NalUnitType.PREFIX_SEI, NalUnitType.SUFFIX_SEI):
                found += [(unit.poc, kind, read_known(message)) for message in read_sei(nal)]
    characteristics = [known for _, kind, known in found if kind is NalUnitType.PREFIX_SEI]
    activations = [known for _, kind, known in found if kind is NalUnitType.SUFFIX_SEI]
    assert len(characteristics) == 2
    # A resampling filter is described but not activated: VTM stops there.
    assert len(activations) == (2 if scale == 1 else 0)
    assert None not in characteristics + activations
    values = characteristics[0][1]
    assert values["nnpfc_uri"] == f"nnvvc:66:{registry.reference(registry.FILTER_VIDEO).digest.hex()}"
    if scale == 1:
        assert (values["nnpfc_purpose"], values["nnpfc_for_machine_analysis_idc"]) == (1, 3)
    else:
        assert (values["nnpfc_purpose"], values["nnpfc_pic_width_num_minus1"]) == (4, 3)
    for _, activation in activations:
        assert activation["nnpfa_target_id"] == values["nnpfc_id"]
        assert activation["nnpfa_persistence_flag"] == 1


def test_a_single_picture_pays_only_for_the_reference() -> None:
    fmt = video(still=True)
    assert 0 < len(encoded(fmt)) - len(encoded(fmt, filter_name="none")) <= 8


def test_qp_comes_from_the_key_slice() -> None:
    stream = Demuxer([encoded(video(still=True))])
    assert filtering.key_slice_qp(stream.first, stream.sets) == QP - KEY_QP_OFFSET


def test_other_or_missing_weights_are_a_named_error(weights: Path) -> None:
    stream = encoded(video(still=True))
    save_filter(PictureFilter(FilterConfig(widths=(4, 4, 8))), weights, {})
    registry.reference.cache_clear()
    with pytest.raises(UnknownModel, match="other weights"):
        decoded(stream, purpose="machines")
    assert len(decoded(stream)) == 1
    weights.unlink()
    registry.reference.cache_clear()
    with pytest.raises(UnknownModel, match="not part of this installation"):
        decoded(stream, purpose="machines")


def test_tiles_join_without_a_seam(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = PictureFilter(FilterConfig(widths=(4, 4, 4), blocks=(0, 0))).requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    save_filter(model, weights, {})
    registry.reference.cache_clear()
    fmt = video(150, 101).picture
    picture = frames(VideoFormat(fmt, frames=1))[0]
    small = replace(fmt, width=75, height=51)
    picture = Picture(
        tuple(p[:h, :w] for p, (h, w) in zip(picture.planes, small.plane_shapes, strict=True)), small
    )
    results = []
    for tile in (1024, 32):
        monkeypatch.setattr(filtering, "TILE", tile)
        monkeypatch.setattr(filtering, "MARGIN", 32)
        apply = NeuralFilter(load_filter(weights), small, fmt, Fraction(1, 2), QP)
        results.append(apply(picture))
    for a, b in zip(results[0].planes, results[1].planes, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.parametrize(("price", "wanted"), [(0.0, QP - quality_choice.FARTHEST), (1e9, 53)])
def test_a_pictures_qp_follows_the_price_of_bits(
    price: float, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    monkeypatch.setattr(quality_choice, "price", lambda _: price)
    fmt = video(still=True)
    settings = VvcSettings(qp=QP, preset="faster", gop="ai", threads=1)
    options = EncodeOptions(
        codec="vvc", purpose="machines", vvc=settings, effort="full", scale=Fraction(1, 2)
    )
    noise = np.random.default_rng(0).integers(60, 200, fmt.picture.plane_shapes[0]).astype(np.uint16)
    noisy = Picture((noise, *frames(fmt)[0].planes[1:]), fmt.picture)
    stream = Demuxer([b"".join(encode_frames([noisy], fmt, options))])
    assert filtering.key_slice_qp(stream.first, stream.sets) == wanted - KEY_QP_OFFSET
    monkeypatch.delenv("NNVVC_NETS")
    with pytest.raises(ConfigError, match="NNVVC_NETS"):
        list(encode_frames([noisy], fmt, options))


@pytest.mark.parametrize(("price", "wanted"), [(0.0, Fraction(1)), (1e9, Fraction(1, 4))])
def test_a_pictures_scale_follows_the_price_of_bits(
    price: float, wanted: Fraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    monkeypatch.setattr(quality_choice, "price", lambda _: price)
    fmt = video(290, 130, still=True)
    settings = VvcSettings(qp=QP, preset="faster", gop="ai", threads=1)
    options = EncodeOptions(codec="vvc", purpose="machines", vvc=settings, effort="full", scale=None)
    (picture,) = frames(fmt)
    header = Demuxer([b"".join(encode_frames([picture], fmt, options))]).header
    assert header is not None and header.scale == wanted


def test_a_prepared_picture_is_judged_by_its_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    monkeypatch.setattr(quality_choice, "price", lambda _: 0.0)
    fmt = video(still=True)
    (original,) = frames(fmt)
    prepared = regions.smoothed(original, np.zeros(fmt.picture.plane_shapes[0], np.float32))
    trial = {QP: prepared, QP + 2: original}.get
    assert quality_choice.chosen_qp(prepared, QP, lambda qp: (trial(qp, prepared), 1)) == QP + 2


def test_the_price_of_bits_rises_with_the_qp() -> None:
    prices = [cost.price(qp) for qp in range(64)]
    assert prices == sorted(prices) and prices[0] > 0


def test_machines_have_a_cost_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNVVC_NETS", raising=False)
    assert cost.cost_for("machines", Fraction(1)) is cost.rate_distortion
    use_loss_networks(tmp_path, monkeypatch)
    originals = [p.with_bit_depth(10) for p in frames(video())] * 2
    flat = Picture(tuple(np.full_like(p, 512) for p in originals[0].planes), originals[0].format)
    measure = cost.cost_for("machines", Fraction(1, 2))
    same, worse, longer = (
        measure(shown, originals, size, QP)
        for shown, size in ((originals, 100), ([flat] * 10, 100), (originals, 200))
    )
    assert same == pytest.approx(800 * cost.price(QP))
    assert longer == pytest.approx(2 * same)
    assert worse > same


def test_several_filters_are_chosen_by_block(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PictureFilter(FilterConfig(widths=(4, 4, 4), blocks=(0, 0), branches=3)).requires_grad_(False)
    for number, branch in enumerate(model.branches):
        branch.heads["1"].bias[:4] = (0.1, 0.0, -0.1)[number]
    save_filter(model, weights, {})
    registry.reference.cache_clear()
    use_loss_networks(tmp_path, monkeypatch)
    fmt = video(290, 130, still=True)
    stream = encoded(fmt)
    loss_networks.loss_network.cache_clear()
    (filtered,), (plain,) = decoded(stream, purpose="machines"), decoded(stream)
    # The filter that changes nothing is right for the picture, and everywhere.
    assert np.abs(filtered.planes[0].astype(int) - plain.planes[0]).max() <= 1
    header = Demuxer([stream]).header
    assert header is not None
    assert (decode_blocks(header.block_map, (2, 3), 3) == 1).all()
    monkeypatch.delenv("NNVVC_NETS")
    without = encoded(fmt)
    assert Demuxer([without]).header == replace(header, block_map=b"")
    (first,) = decoded(without, purpose="machines")
    assert abs((first.planes[0].astype(int) - plain.planes[0]).mean() - 21.9) < 0.7
    assert 0 < len(stream) - len(without) < 8


def test_blocks_are_put_together_as_chosen(weights: Path) -> None:
    model = PictureFilter(FilterConfig(widths=(4, 4, 4), blocks=(0, 0), branches=2)).requires_grad_(False)
    model.branches[1].heads["1"].bias[:4] = 0.1
    save_filter(model, weights, {})
    registry.reference.cache_clear()
    fmt = video(290, 131).picture
    choice = np.array([[0, 1, 0], [1, 0, 1]], np.uint8)
    apply = NeuralFilter(load_filter(weights), fmt, fmt, Fraction(1), QP, choice)
    assert apply.map_shape == choice.shape
    picture = frames(VideoFormat(fmt, frames=1))[0]
    change = apply(picture).planes[0].astype(int) - picture.planes[0]
    assert set(np.unique(change[:128, 128:256])) <= {21, 22} and set(np.unique(change[128:, :128])) <= {
        21,
        22,
    }
    assert not change[:128, :128].any() and not change[:128, 256:].any() and not change[128:, 128:256].any()
