"""Pictures through the image pipeline: any size and format, damage, finetuning."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnvvc.adapt import feature_distortion
from nnvvc.adapt import latents as latents_module
from nnvvc.adapt.feature_distortion import FeatureDistortion
from nnvvc.adapt.filtered_distortion import FilteredDistortion
from nnvvc.adapt.latents import Aim, finetune, people_distortion
from nnvvc.adapt.loss_networks import PictureLoss
from nnvvc.api import decode_chunks, encode_frames
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import Pipeline, StreamHeader
from nnvvc.codecs import image as image_codec
from nnvvc.codecs import people_filter, picture_coder, quality_choice
from nnvvc.codecs.image import coded_picture_format, restore
from nnvvc.codecs.learned_filter import LearnedFilter, enhancement
from nnvvc.codecs.people_filter import StillFilter
from nnvvc.codecs.picture_coder import decode_picture, encode_picture, image_model
from nnvvc.entropy.block_map import decode_blocks
from nnvvc.errors import ConfigError, InputError, NnvvcError, PictureMismatch, StreamError, UnknownModel
from nnvvc.models import registry
from nnvvc.models.exact_restoration import Measured, save_exact
from nnvvc.models.filters import FilterConfig, PictureFilter, save_filter
from nnvvc.models.image import ImageModel
from nnvvc.models.lic import rate_lambda
from nnvvc.models.planes import planes_of_picture
from nnvvc.models.registry import image_model_in
from nnvvc.models.restoration import (
    OUTPUT_UNIT,
    RestorationConfig,
    RestorationFilter,
    quantiser_step,
)
from nnvvc.options import DecodeOptions, EncodeOptions
from nnvvc.picture import Chroma, Picture, PictureFormat, VideoFormat
from nnvvc.vvc.tools import VvcSettings
from tests.codecs.loss_networks import use_loss_networks
from tests.models.tiny_image import MODEL

SIZES = [(1, 1), (1, 64), (64, 1), (2, 3), (17, 33), (63, 65), (255, 257)]


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageModel]:
    for purpose in ("people", "machines"):
        shutil.copy(MODEL, tmp_path / f"image_{purpose}.safetensors")
    torch.manual_seed(0)
    brighter = RestorationFilter(RestorationConfig((4, 4, 4), (0, 0, 0)))
    with torch.no_grad():
        assert brighter.head.bias is not None
        brighter.head.bias[:4] = 2.0
    measured = Measured(brighter)
    with torch.no_grad():
        brighter(
            torch.rand(1, 1, 32, 32), torch.rand(1, 2, 16, 16) - 0.5, torch.tensor([30.0]), torch.zeros(1, 1)
        )
    save_exact(brighter, measured.shifts(), tmp_path / "filter_image.safetensors", {})
    save_filter(by_strength(), tmp_path / "filter_learned.safetensors", {})
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    registry.reference.cache_clear()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield image_model(registry.reference(registry.IMAGE_PEOPLE))
    torch.set_num_threads(before)
    registry.reference.cache_clear()
    image_model.cache_clear()


def by_strength() -> PictureFilter:
    """Two filters: the first leaves luma as it is, the second adds 0.1."""
    model = PictureFilter(FilterConfig((4, 4, 4), (0, 0), branches=2)).requires_grad_(False)
    for branch, bias in zip(model.branches, (0.0, 0.1), strict=True):
        for up, head in branch.heads.items():  # type: ignore[union-attr, operator]
            head.weight.zero_()
            head.bias.zero_()
            head.bias[: 4 * int(up) ** 2] = bias
    return model


def picture(fmt: PictureFormat, seed: int = 0) -> Picture:
    """Smooth shapes with some noise."""
    rng = np.random.default_rng(seed)
    top = (1 << fmt.bit_depth) - 1
    planes = []
    for height, width in fmt.plane_shapes:
        y, x = np.mgrid[:height, :width]
        wave = np.sin(x / 11 + seed) * np.cos(y / 7) * 0.3 + 0.5
        noisy = (wave + 0.02 * rng.standard_normal((height, width))) * top
        planes.append(np.clip(np.rint(noisy), 0, top).astype(np.uint16))
    return Picture(tuple(planes), fmt)


def options(qp: int = 20, **more: object) -> EncodeOptions:
    return EncodeOptions(codec="image", vvc=VvcSettings(qp), **more)  # type: ignore[arg-type]


def stream_of(pictures: list[Picture], chosen: EncodeOptions, *, still: bool = True) -> bytes:
    video = VideoFormat(pictures[0].format, Fraction(25), len(pictures), still)
    return b"".join(encode_frames(pictures, video, chosen))


@pytest.mark.parametrize("size", SIZES)
def test_any_size(size: tuple[int, int]) -> None:
    original = picture(PictureFormat(*size))
    (decoded,) = decode_chunks([stream_of([original], options())])
    assert decoded.format == original.format


@pytest.mark.parametrize("profile", ["fast", "base", "high"])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("chroma", [Chroma.C400, Chroma.C420])
def test_decoder_gives_what_the_encoder_had(
    profile: str, depth: int, chroma: Chroma, tiny: ImageModel
) -> None:
    fmt = PictureFormat(81, 50, depth, chroma)
    original = picture(fmt)
    stream = stream_of([original], options(profile=profile, finetune_seconds=0.0))
    (coded,) = decode_chunks([stream], DecodeOptions(coded=True))
    expected = encode_picture(tiny, original.with_bit_depth(10), 20, profile)
    assert all(np.array_equal(a, b) for a, b in zip(coded.planes, expected.picture.planes, strict=True))
    again = decode_picture(tiny, expected.body, expected.picture.format)
    assert all(np.array_equal(a, b) for a, b in zip(coded.planes, again.planes, strict=True))
    (shown,) = decode_chunks([stream])
    assert shown.format == fmt


def test_finer_is_larger_and_better() -> None:
    original = picture(PictureFormat(128, 128))
    sizes, errors = [], []
    for qp in (5, 30, 55):
        stream = stream_of([original], options(qp))
        (decoded,) = decode_chunks([stream])
        sizes.append(len(stream))
        errors.append(float(np.square(decoded.planes[0].astype(float) - original.planes[0]).mean()))
    assert sizes == sorted(sizes, reverse=True)
    assert errors[0] < errors[2]


@pytest.mark.parametrize("fmt", [PictureFormat(81, 50), PictureFormat(16, 33, 10, Chroma.C400)])
def test_people_see_filtered_pictures(fmt: PictureFormat) -> None:
    original = picture(fmt)
    plainly = options(30, finetune_seconds=0.0)
    stream = stream_of([original], plainly)
    (shown,), (off,) = decode_chunks([stream]), decode_chunks([stream], DecodeOptions(filter="off"))
    assert shown.planes[0].astype(int).mean() > off.planes[0].astype(int).mean() + 0.5
    plain = stream_of([original], replace(plainly, filter="none"))
    (other,) = decode_chunks([plain])
    assert len(plain) < len(stream)
    assert all(np.array_equal(a, b) for a, b in zip(off.planes, other.planes, strict=True))
    assert stream_of([original], replace(plainly, filter="base")) == stream
    (machines,) = decode_chunks([stream], DecodeOptions(purpose="machines"))
    assert all(np.array_equal(a, b) for a, b in zip(off.planes, machines.planes, strict=True))


def test_fast_pictures_are_filtered_where_it_is_asked_for_only() -> None:
    original = picture(PictureFormat(130, 70))
    given, asked, left_out = (
        stream_of([original], options(30, finetune_seconds=0.0, profile="fast", filter=name))
        for name in ("auto", "base", "none")
    )
    assert given == left_out
    assert len(asked) > len(given)


def test_tiles_of_the_filter_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the model of the package, whose answers depend on the most samples around
    registry.reference.cache_clear()
    apply, coded = StillFilter(), picture(PictureFormat(333, 150, 10), 1)
    whole = apply(coded, 37)
    assert not np.array_equal(whole.planes[0], coded.planes[0])
    monkeypatch.setattr(people_filter, "STILL_TILE", 64)
    tiled = apply(coded, 37)
    assert all(np.array_equal(a, b) for a, b in zip(whole.planes, tiled.planes, strict=True))
    monkeypatch.setattr(people_filter, "STILL_MARGIN", 16)
    assert not np.array_equal(apply(coded, 37).planes[0], whole.planes[0])


@pytest.mark.parametrize("scale", ["3/4", "1/2", "1/4"])
def test_coded_scale(scale: str) -> None:
    original = picture(PictureFormat(101, 67))
    stream = stream_of([original], options(scale=Fraction(scale)))
    (coded,) = decode_chunks([stream], DecodeOptions(coded=True))
    assert coded.format.width == -(-101 * Fraction(scale) // 1)
    (decoded,) = decode_chunks([stream])
    assert decoded.format == original.format
    assert stream_of([original], options(scale=None))


def test_several_pictures_and_the_models_named() -> None:
    fmt = PictureFormat(64, 48)
    pictures = [picture(fmt, seed) for seed in range(3)]
    stream = stream_of(pictures, options(purpose="machines"), still=False)
    assert len(list(decode_chunks([stream]))) == 3
    assert stream_of(pictures, options(), still=False) != stream


def test_other_weights_are_a_named_error(tmp_path: Path) -> None:
    stream = stream_of([picture(PictureFormat(20, 20))], options())
    file = tmp_path / "image_people.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")
    registry.reference.cache_clear()
    image_model.cache_clear()
    with pytest.raises(UnknownModel, match="other weights"):
        decode_chunks([stream])
    file.unlink()
    registry.reference.cache_clear()
    image_model.cache_clear()
    with pytest.raises(UnknownModel, match="not part of this installation"):
        decode_chunks([stream])


def test_streams_without_a_known_model() -> None:
    from nnvvc.bitstream.header import ModelReference, Pipeline, StreamHeader

    video = VideoFormat(PictureFormat(8, 8))
    with pytest.raises(UnknownModel):
        image_model_in(StreamHeader(Pipeline.IMAGE, video, models=(ModelReference(999, bytes(4)),)))


@pytest.mark.parametrize(
    ("name", "purpose"), [("machines", None), ("adapt", None), ("base", "machines"), ("adapt", "machines")]
)
def test_filters_that_are_not_there_are_refused(name: str, purpose: str | None) -> None:
    with pytest.raises(ConfigError):
        stream_of([picture(PictureFormat(8, 8))], options(filter=name, purpose=purpose))


@pytest.mark.parametrize("scale", [Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(1, 4)])
@pytest.mark.parametrize("fmt", [PictureFormat(301, 150), PictureFormat(160, 90, 10, Chroma.C400)])
def test_machines_see_pictures_at_full_size_through_a_filter(fmt: PictureFormat, scale: Fraction) -> None:
    original = picture(fmt)
    chosen = options(filter="machines", purpose="machines", scale=scale)
    stream = stream_of([original], chosen)
    (shown,) = decode_chunks([stream], DecodeOptions(purpose="machines"))
    (plain,) = decode_chunks([stream], DecodeOptions(purpose="machines", filter="off"))
    assert shown.format == plain.format == fmt
    # The first of two filters, which is only another enlargement.
    error = np.abs(shown.planes[0].astype(int) - plain.planes[0])
    assert error.mean() < 0.01 * (1 << fmt.bit_depth)
    assert stream == stream_of([original], replace(chosen, filter="auto"))
    assert stream != stream_of([original], replace(chosen, filter="none"))


def test_filters_are_chosen_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    fmt = PictureFormat(512, 256)
    original = picture(fmt)
    # Decoded darker than it was on the right side: the second filter mends that.
    darker = original.planes[0].copy()
    darker[:, 256:] = np.clip(darker[:, 256:].astype(int) - 22, 0, 255)
    chosen = options(5, purpose="machines", scale=Fraction(1), finetune_seconds=0.0)
    encode = image_codec._encode

    def dark(model: ImageModel, frame: Picture, *arguments: object) -> picture_coder.CodedPicture:
        given = Picture((darker, *frame.planes[1:]), fmt)
        return encode(model, given, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(image_codec, "_encode", dark)
    stream = stream_of([original], chosen)
    header = Demuxer([stream]).header
    assert header is not None
    blocks = decode_blocks(header.block_map, (2, 4), 2)
    assert blocks[:, :2].sum() < blocks[:, 2:].sum()
    (shown,) = decode_chunks([stream], DecodeOptions(purpose="machines"))
    (plain,) = decode_chunks([stream], DecodeOptions(purpose="machines", filter="off"))
    brighter = shown.planes[0].astype(int) - plain.planes[0] > 15
    assert brighter.mean() == pytest.approx(blocks.mean(), abs=0.05)


def test_a_damaged_choice_of_filters_is_an_error() -> None:
    header = StreamHeader(Pipeline.IMAGE, VideoFormat(PictureFormat(512, 256)))
    used = registry.reference(registry.FILTER_LEARNED)
    fmt = header.source.picture
    with pytest.raises(StreamError):
        LearnedFilter(used, coded_picture_format(fmt, Fraction(1)), fmt, Fraction(1), bytes(400))


def test_finetuning_weighs_the_filtered_picture() -> None:
    original = picture(PictureFormat(96, 64))
    plain = stream_of([original], options(30, finetune_seconds=0.0))
    assert stream_of([original], options(30, finetune_seconds=2.0)) != plain
    assert stream_of([original], options(30)) != plain
    model = StillFilter().exact.model
    planes = planes_of_picture(original, 64)
    distortion = FilteredDistortion(model, 30, full_range=False)
    darker = planes.clone()
    darker[:, :4] -= 2.0 * OUTPUT_UNIT * float(quantiser_step(torch.tensor(30.0))) * 876 / 256
    assert distortion(darker, planes) < 0.1 * people_distortion(darker, planes)


@pytest.mark.parametrize("seed", range(10))
def test_damage_ends_in_an_error(seed: int) -> None:
    stream = bytearray(stream_of([picture(PictureFormat(40, 40))], options()))
    rng = np.random.default_rng(seed)
    at = int(rng.integers(8, len(stream)))
    if seed % 2:
        del stream[at:]
    else:
        stream[at] ^= 1 << int(rng.integers(8))
    with pytest.raises(NnvvcError):
        list(decode_chunks([bytes(stream)]))


def test_other_reconstructions_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of([picture(PictureFormat(40, 40))], options())
    synthesise = ImageModel.synthesise
    monkeypatch.setattr(ImageModel, "synthesise", lambda *a: (synthesise(*a) + 1).clamp(0, 1023))
    with pytest.raises(PictureMismatch):
        list(decode_chunks([stream]))


@pytest.mark.parametrize("part", [12, 1])
def test_finetuning_lowers_the_cost(part: int, tiny: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents_module, "PART", part)
    qp = 25
    planes = planes_of_picture(picture(PictureFormat(128, 64, 10)), 64)
    latents, hyper = tiny.analyse(planes, qp)

    def cost(pair: tuple[torch.Tensor, torch.Tensor]) -> float:
        bits, decoded = tiny.forward(*pair, qp, "high")
        error = people_distortion((tiny.synthesise(decoded, qp).float() - 512) / 256, planes)
        return bits / (128 * 64) + float(error / rate_lambda(torch.tensor([float(qp)])))

    better = finetune(tiny, planes, latents, hyper, qp, "high", steps=25)
    assert better[0].shape == latents.shape and better[1].shape == hyper.shape
    assert cost(better) < cost((latents, hyper))
    same = finetune(tiny, planes, latents, hyper, qp, "high", steps=0)
    assert cost(same) == cost((latents, hyper))
    small = (tiny, picture(PictureFormat(128, 64, 10)), qp, "high")
    assert encode_picture(*small, None, Aim(largest=1000)).body == encode_picture(*small).body
    assert encode_picture(*small, None).body != encode_picture(*small).body


def test_decoding_does_not_depend_on_the_source_depth() -> None:
    fmt = PictureFormat(32, 32, 10)
    stream = stream_of([picture(fmt)], options())
    assert next(iter(decode_chunks([stream]))).format == fmt
    assert replace(fmt, bit_depth=8).samples == fmt.samples


@pytest.mark.parametrize("patient", [False, True])
def test_finetuning_for_machines_lowers_their_cost(
    patient: bool, tiny: ImageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    qp, scale = 25, Fraction(1, 2)
    original = picture(PictureFormat(128, 96, 10))
    coded = coded_picture_format(original.format, scale)
    small = picture(coded)
    planes = planes_of_picture(small, 64)
    latents, hyper = tiny.analyse(planes, qp)
    distortion = FeatureDistortion(original, coded)
    distortion(planes + 0.01, planes)  # fixes the unit

    def cost(pair: tuple[torch.Tensor, torch.Tensor]) -> float:
        bits, decoded = tiny.forward(*pair, qp, "base")
        error = distortion((tiny.synthesise(decoded, qp).float() - 512) / 256, planes)
        return bits / coded.samples + float(error / rate_lambda(torch.tensor([float(qp)])))

    better = finetune(
        tiny, planes, latents, hyper, qp, "base", Aim(distortion, whole=True, patient=patient), steps=25
    )
    assert cost(better) < cost((latents, hyper))


def test_feature_distortion_sees_what_machines_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    original, coded = picture(PictureFormat(101, 75, 10)), PictureFormat(51, 38, 10)
    shown = restore(picture(coded, seed=1), original.format)
    expected = PictureLoss(original, feature_distortion.SIZES)(shown)
    got = FeatureDistortion(original, coded).features(planes_of_picture(picture(coded, seed=1), 64))
    assert float(got) == pytest.approx(expected, rel=0.1)


def test_feature_distortion_sees_the_filtered_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    used, qp, scale = registry.reference(registry.FILTER_LEARNED), 30, Fraction(1, 2)
    original, coded = picture(PictureFormat(101, 75, 10)), PictureFormat(51, 38, 10)
    small = picture(coded, seed=1)
    shown = LearnedFilter(used, coded, original.format, scale)(small, qp)
    expected = PictureLoss(original, feature_distortion.SIZES)(shown)
    enhanced = FeatureDistortion(original, coded, enhancement(used, scale, qp))
    planes = planes_of_picture(small, 64).requires_grad_(True)
    got = enhanced.features(planes)
    assert float(got.detach()) == pytest.approx(expected, rel=0.02)
    assert float(torch.autograd.grad(got.sum(), planes)[0].abs().sum()) > 0


def test_pictures_for_machines_are_finetuned_where_their_networks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: list[tuple[bool, int]] = []

    def watched(*given: Any, steps: int = 0, **others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        tuned.append((isinstance(given[-1].distortion, FeatureDistortion), steps))
        return finetune(*given, steps=min(1, steps), **others)

    monkeypatch.setattr(picture_coder, "finetune", watched)
    original = picture(PictureFormat(96, 64))
    chosen = options(30, purpose="machines")
    stream_of([original], chosen)
    assert not tuned
    use_loss_networks(tmp_path, monkeypatch)
    stream_of([original], replace(chosen, finetune_seconds=0.0))
    assert not tuned
    stream_of([original], chosen)
    assert tuned == [(True, 16)]


def test_pictures_for_machines_have_a_qp_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    original = picture(PictureFormat(64, 48))
    chosen = options(purpose="machines", effort="full", finetune_seconds=0.01)
    sizes = []
    for price in (0.0, 1e9):
        monkeypatch.setattr(quality_choice, "price", lambda _, price=price: price)
        sizes.append(len(stream_of([original], chosen)))
    assert sizes[0] > sizes[1]
    monkeypatch.delenv("NNVVC_NETS")
    with pytest.raises(ConfigError, match="NNVVC_NETS"):
        stream_of([original], chosen)


def test_pictures_for_machines_have_a_scale_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loss_networks(tmp_path, monkeypatch)
    original = picture(PictureFormat(160, 130))
    scales = []
    for price in (0.0, 1e9):
        monkeypatch.setattr(quality_choice, "price", lambda _, price=price: price)
        stream = stream_of([original], options(purpose="machines", effort="full", scale=None))
        header = Demuxer([stream]).header
        assert header is not None
        scales.append(header.scale)
        (shown,) = decode_chunks([stream])
        assert shown.format == original.format
    assert scales[0] > scales[1] == Fraction(1, 4)


def test_a_scale_cannot_be_found_for_no_picture() -> None:
    chosen = options(purpose="machines", effort="full", scale=None)
    with pytest.raises(InputError, match="no pictures"):
        list(encode_frames([], VideoFormat(PictureFormat(16, 16), still=True), chosen))
