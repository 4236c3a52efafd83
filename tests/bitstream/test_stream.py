"""Access units, parameter sets, muxer and demuxer on real streams."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnvvc.bitstream.access_unit import AccessUnit
from nnvvc.bitstream.bits import BitReader
from nnvvc.bitstream.demuxer import Demuxer
from nnvvc.bitstream.header import Pipeline, StreamHeader
from nnvvc.bitstream.key_slice import KeySlice, PictureCodec
from nnvvc.bitstream.muxer import Muxer, PeriodVerifier
from nnvvc.bitstream.nal import IRAP, NalHeader, NalUnitType, join_annex_b, rbsp, split_annex_b
from nnvvc.bitstream.parameter_sets import SPS, SPS_WHOLE, ParameterSets, read_vui, write_sps
from nnvvc.bitstream.payload import PayloadKind
from nnvvc.bitstream.slice_header import read_key_slice
from nnvvc.errors import DamagedStream, PictureMismatch, StreamError, TruncatedStream, UnsupportedStream
from nnvvc.picture import Picture, VideoFormat

from .conftest import FORMAT, decode

HEADER = StreamHeader(Pipeline.VVC, VideoFormat(FORMAT, Fraction(25), 36))


def mux(stream: bytes, pictures: list[Picture]) -> bytes:
    out = bytearray()
    muxer = Muxer(HEADER, out.extend)
    for unit in Demuxer([stream]):
        muxer.add(unit)
    for picture in pictures:
        muxer.add_picture(picture)
    muxer.close()
    return bytes(out)


@pytest.fixture(scope="module")
def pictures(open_stream: bytes, tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return decode(open_stream, FORMAT, tmp_path_factory.mktemp("open"))


def test_access_units_have_their_order_and_size(open_stream: bytes) -> None:
    units = list(Demuxer([open_stream]))
    assert sorted(u.poc for u in units) == list(range(36))
    assert [u.poc for u in units if u.irap] == [0, 16, 32]
    assert [u.type for u in units if u.irap][1:] == [NalUnitType.CRA] * 2
    size = units[0].size
    assert size is not None
    assert (size.width, size.height, size.padded_width, size.padded_height, size.bit_depth) == (
        72,
        56,
        72,
        56,
        10,
    )
    assert b"".join(u.tobytes() for u in units) == open_stream


def test_chunks_do_not_matter(open_stream: bytes) -> None:
    chunks = [open_stream[i : i + 7] for i in range(0, len(open_stream), 7)]
    assert [u.nals for u in Demuxer(chunks)] == [u.nals for u in Demuxer([open_stream])]


def test_leading_pictures_of_a_stream_that_begins_with_cra_are_not_shown(open_stream: bytes) -> None:
    units = list(Demuxer([open_stream]))
    cut = b"".join(u.tobytes() for u in units[1:])
    again = list(Demuxer([cut]))
    assert [u.output for u in again[:16]] == [True] + [False] * 15
    assert all(u.output for u in again[16:])


def test_mux_and_demux(open_stream: bytes, pictures: list[Picture]) -> None:
    stream = mux(open_stream, pictures)
    assert len(stream) - len(open_stream) < 100
    demuxer = Demuxer([stream])
    assert demuxer.header == HEADER
    verifier = PeriodVerifier()
    plain = bytearray()
    for unit in demuxer:
        verifier.add_unit(unit)
        plain += join_annex_b(unit.vvc_nals())
    for picture in pictures:
        verifier.add_picture(picture)
    verifier.close()
    assert verifier.checked == len(pictures) == 36
    assert bytes(plain) == open_stream


def test_the_order_in_which_pictures_come_does_not_change_the_stream(
    open_stream: bytes, pictures: list[Picture]
) -> None:
    out = bytearray()
    muxer = Muxer(HEADER, out.extend)
    waiting, shown = iter(pictures), 0
    for count, unit in enumerate(Demuxer([open_stream])):
        muxer.add(unit)
        while shown < count - 9:
            muxer.add_picture(next(waiting))
            shown += 1
    for picture in waiting:
        muxer.add_picture(picture)
    muxer.close()
    assert bytes(out) == mux(open_stream, pictures)


def test_a_unit_can_be_held_until_it_is_complete(open_stream: bytes, pictures: list[Picture]) -> None:
    out = bytearray()
    muxer = Muxer(HEADER, out.extend)
    held = []
    for unit in Demuxer([open_stream]):
        muxer.add(unit, complete=not unit.irap)
        held += [unit] if unit.irap else []
    assert not out
    for picture in pictures:
        muxer.add_picture(picture)
    for unit in held:
        muxer.complete(unit)
    muxer.close()
    assert bytes(out) == mux(open_stream, pictures)


def test_a_wrong_picture_is_named(open_stream: bytes, pictures: list[Picture]) -> None:
    verifier = PeriodVerifier()
    for unit in Demuxer([mux(open_stream, pictures)]):
        verifier.add_unit(unit)
    wrong = Picture(tuple(p + 1 for p in pictures[3].planes), FORMAT)
    shown = [*pictures[:3], wrong, *pictures[4:]]
    with pytest.raises(PictureMismatch, match="pictures 1 to 16"):
        for picture in shown:
            verifier.add_picture(picture)


def test_missing_and_surplus_pictures_are_noticed(open_stream: bytes, pictures: list[Picture]) -> None:
    stream = mux(open_stream, pictures)
    for shown, text in ((pictures[:-1], "35 pictures of 36"), ([*pictures, pictures[0]], "more pictures")):
        verifier = PeriodVerifier()
        for unit in Demuxer([stream]):
            verifier.add_unit(unit)
        with pytest.raises(PictureMismatch, match=text):
            for picture in shown:
                verifier.add_picture(picture)
            verifier.close()


def test_parameter_sets_are_written_as_they_were_read(open_stream: bytes) -> None:
    for nal in split_annex_b([open_stream]):
        if NalHeader.read(nal).type is NalUnitType.SPS:
            assert write_sps(SPS_WHOLE.read(BitReader(rbsp(nal)))) == nal
            vui = read_vui(nal)
            assert vui is not None
            assert Fraction(vui["time_scale"], vui["num_units_in_tick"]) == 25


def dropped(stream: bytes) -> tuple[list[AccessUnit], list[bytes]]:
    """The units of a stream whose key slices are replaced by payloads, and the slices."""
    demuxer = Demuxer([stream])
    units, slices = [], []
    for unit in demuxer:
        for i, nal in enumerate(unit.nals):
            header = NalHeader.read(nal)
            if header.type in IRAP:
                fields = read_key_slice(nal, demuxer.sets)
                key = KeySlice(header.type, fields, PictureCodec.LEARNED, b"learned" * 9, 2, b"patch")
                unit.nals[i] = key.write(demuxer.sets.context(key.pps_id))
                slices.append(nal)
        units.append(unit)
    return units, slices


@pytest.mark.parametrize("kind", ["open_stream", "closed_stream"])
def test_a_dropped_key_slice_keeps_what_its_decoder_needs(kind: str, request: pytest.FixtureRequest) -> None:
    original = request.getfixturevalue(kind)
    units, slices = dropped(original)
    stream = b"".join(u.tobytes() for u in units)
    plain = list(Demuxer([original]))
    demuxer = Demuxer([stream])
    for unit, old in zip(demuxer, plain, strict=True):
        assert (unit.poc, unit.type, unit.irap, unit.output) == (old.poc, old.type, old.irap, old.output)
        body = unit.payload(PayloadKind.KEY_SLICE)
        assert (body is not None) == unit.irap
        if body is not None:
            key = KeySlice.frombytes(body, demuxer.sets)
            fields = read_key_slice(slices.pop(0), demuxer.sets)
            assert (key.picture, key.patch, key.log2_step) == (b"learned" * 9, b"patch", 2)
            for name in ("ph_pic_order_cnt_lsb", "ph_pic_parameter_set_id", "ref_pic_lists"):
                assert key.header.get(name) == fields.get(name)
            assert len(body) - len(key.picture) - len(key.patch) < 12


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_typed_errors(open_stream: bytes, data: st.DataObject) -> None:
    stream = bytearray(b"".join(u.tobytes() for u in dropped(open_stream)[0][:3]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                stream[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del stream[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                stream[at:at] = data.draw(st.binary(max_size=20))
        if not stream:
            return
    for tolerant in (False, True):
        try:
            demuxer = Demuxer([bytes(stream)], tolerant=tolerant)
            for unit in demuxer:
                body = unit.payload(PayloadKind.KEY_SLICE)
                if body is not None:
                    KeySlice.frombytes(body, demuxer.sets)
                for nal in unit.nals:
                    if NalHeader.read(nal).type in IRAP:
                        read_key_slice(nal, demuxer.sets)
        except StreamError:
            pass


@given(st.binary(max_size=120), st.sampled_from([15, 16, 19, 0, 7, 9]))
def test_random_parameter_sets_and_headers(data: bytes, kind: int) -> None:
    sets = ParameterSets()
    nal = bytes((0, kind << 3 | 1)) + data
    try:
        sets.add(nal)
        SPS.read(BitReader(rbsp(nal)))
        read_key_slice(nal, sets)
    except StreamError:
        pass


def test_forged_sizes_are_refused_before_anything_is_made(open_stream: bytes) -> None:
    sps = next(n for n in split_annex_b([open_stream]) if NalHeader.read(n).type is NalUnitType.SPS)
    values = SPS_WHOLE.read(BitReader(rbsp(sps)))
    for change, error in (
        (
            {"sps_pic_width_max_in_luma_samples": 16384, "sps_pic_height_max_in_luma_samples": 16384},
            StreamError,
        ),
        ({"sps_pic_width_max_in_luma_samples": 73}, DamagedStream),
        ({"sps_chroma_format_idc": 3, "sps_palette_enabled_flag": 0}, UnsupportedStream),
    ):
        with pytest.raises(error):
            ParameterSets().add(write_sps({**values, **change}))


def test_streams_without_pictures_are_refused(open_stream: bytes) -> None:
    first = next(iter(Demuxer([open_stream])))
    with pytest.raises(TruncatedStream):
        Demuxer([join_annex_b(first.nals[:3])])


def test_parts_of_two_streams_are_told_apart(open_stream: bytes, pictures: list[Picture]) -> None:
    one = mux(open_stream, pictures)
    demuxer = Demuxer([open_stream])
    first = demuxer.first
    first.insert_first(StreamHeader(Pipeline.HYBRID, HEADER.source).write())
    with pytest.raises(UnsupportedStream, match="joined"):
        list(Demuxer([one, first.tobytes()]))
