from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.bitstream.header import ModelReference, Pipeline, StreamHeader, scaled_size
from nnvvc.bitstream.nal import NalHeader, NalUnitType
from nnvvc.bitstream.payload import (
    PayloadKind,
    PeriodEnd,
    PeriodHash,
    read_payload,
    write_payload,
)
from nnvvc.errors import DamagedStream, StreamError, UnsupportedStream
from nnvvc.picture import Chroma, ChromaSiting, Matrix, PictureFormat, VideoFormat

from .conftest import moving_picture


@given(st.sampled_from(PayloadKind), st.binary(max_size=300))
def test_a_payload_comes_back(kind: PayloadKind, body: bytes) -> None:
    nal = write_payload(kind, body)
    assert read_payload(nal) == (kind, body)
    expected = NalUnitType.PERIOD_HASH if kind is PayloadKind.PERIOD_HASH else NalUnitType.PAYLOAD
    assert NalHeader.read(nal).type is expected


@given(st.binary(min_size=1, max_size=60), st.data())
def test_every_change_of_a_byte_is_noticed(body: bytes, data: st.DataObject) -> None:
    nal = bytearray(write_payload(PayloadKind.KEY_PICTURE, body))
    at = data.draw(st.integers(2, len(nal) - 1))
    nal[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StreamError):
        read_payload(bytes(nal))
    with pytest.raises(StreamError):
        read_payload(bytes(nal[:at]))


@given(st.binary(max_size=60))
def test_random_bytes_are_no_payload(data: bytes) -> None:
    with pytest.raises(StreamError):
        read_payload(b"\0\xe1" + data)


headers = st.builds(
    StreamHeader,
    st.sampled_from(Pipeline),
    st.builds(
        lambda picture, num, den, frames: VideoFormat(picture, Fraction(num, den), frames),
        st.builds(
            PictureFormat,
            st.integers(1, 4000),
            st.integers(1, 4000),
            st.integers(8, 16),
            st.sampled_from(Chroma),
            st.sampled_from(Matrix),
            st.booleans(),
            st.sampled_from(ChromaSiting),
        ),
        st.integers(1, 10**6),
        st.integers(1, 10**6),
        st.none() | st.integers(0, 2**31),
    ),
    st.integers(1, 4).map(lambda n: Fraction(n, 4)),
    st.lists(
        st.builds(ModelReference, st.integers(0, 65535), st.binary(min_size=4, max_size=4)), max_size=4
    ).map(tuple),
)


@given(headers)
def test_a_stream_header_comes_back(header: StreamHeader) -> None:
    assert StreamHeader.frombytes(header.tobytes()) == header


def test_a_stream_header_is_small() -> None:
    source = VideoFormat(PictureFormat(1920, 1080), Fraction(30000, 1001), 300)
    header = StreamHeader(Pipeline.HYBRID, source, Fraction(3, 4), (ModelReference(7, b"abcd"),))
    assert len(header.write()) < 36
    assert header.coded_size == (1440, 810)
    still = StreamHeader(Pipeline.IMAGE, VideoFormat(PictureFormat(768, 512), Fraction(1), 1, still=True))
    assert StreamHeader.frombytes(still.tobytes()) == still
    assert len(still.tobytes()) < 12
    mapped = replace(still, block_map=b"\1\0\2")
    assert StreamHeader.frombytes(mapped.tobytes()) == mapped
    assert len(mapped.tobytes()) == len(still.tobytes()) + 3
    with pytest.raises(DamagedStream, match="too long"):
        StreamHeader.frombytes(header.tobytes() + b"\1")


@given(st.binary(max_size=40))
def test_random_bytes_give_a_header_or_a_typed_error(data: bytes) -> None:
    with suppress(StreamError):
        StreamHeader.frombytes(data)


def test_newer_versions_and_kinds_are_named() -> None:
    with pytest.raises(UnsupportedStream, match="version 9"):
        StreamHeader.frombytes(b"\x09abc")
    nal = write_payload(PayloadKind.KEY_PICTURE, b"")
    assert scaled_size(7, 5, Fraction(1, 2)) == (4, 3)
    assert len(nal) == 9


def test_a_period_hash_depends_on_every_sample() -> None:
    pictures = [moving_picture(i) for i in range(3)]
    first, second = PeriodHash(), PeriodHash()
    for picture in pictures:
        first.add(picture)
    pictures[1].planes[2][3, 4] ^= 1
    for picture in pictures:
        second.add(picture)
    assert first.value != second.value


@given(
    st.integers(1, 1 << 20),
    st.integers(0, (1 << 32) - 1),
    st.none() | st.integers(0, 127),
    st.booleans(),
)
def test_the_end_of_a_period_is_read_as_written(
    pictures: int, value: int, number: int | None, last: bool
) -> None:
    end = PeriodEnd(pictures, value, number, last and number is not None)
    _, body = read_payload(end.write())
    assert PeriodEnd.frombytes(body) == end
    with pytest.raises(DamagedStream):
        PeriodEnd.frombytes(body + b"xx")
    with pytest.raises(ValueError, match="32 bits"):
        PeriodEnd(3, 1 << 32).write()
