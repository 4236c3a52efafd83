import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.bitstream.nal import (
    NalHeader,
    NalUnitType,
    escape,
    join_annex_b,
    make_nal,
    rbsp,
    split_annex_b,
    unescape,
)
from nnvvc.errors import DamagedStream, LimitExceeded, StreamError, TruncatedStream, UnsupportedStream

zero_heavy = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 0x80, 0xFF]), max_size=60).map(bytes)


@given(zero_heavy)
def test_escaping_hides_start_codes_and_is_undone(data: bytes) -> None:
    escaped = escape(data)
    assert not any(code in escaped for code in (b"\0\0\0", b"\0\0\1", b"\0\0\2"))
    assert not escaped.endswith(b"\0")
    back = unescape(escaped)
    assert back in (data, data + b"\3")


@given(st.lists(zero_heavy, min_size=1, max_size=8), st.integers(1, 50))
def test_a_stream_is_split_as_it_was_joined_whatever_the_chunks(payloads: list[bytes], size: int) -> None:
    nals = [make_nal(NalHeader(NalUnitType.TRAIL), p + b"\x80") for p in payloads]
    stream = join_annex_b(nals) + b"\0\0"
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert list(split_annex_b(chunks)) == nals
    assert [rbsp(nal) for nal in nals] == [p + b"\x80" for p in payloads]


@given(st.lists(zero_heavy, max_size=4))
def test_random_bytes_are_split_or_refused(chunks: list[bytes]) -> None:
    try:
        for nal in split_annex_b(chunks):
            assert len(nal) >= 2
            NalHeader.read(nal)
    except StreamError:
        pass


def test_start_codes_have_the_length_that_the_standard_asks_for() -> None:
    def start(*types: NalUnitType) -> list[int]:
        stream = join_annex_b([make_nal(NalHeader(t), b"\x80") for t in types])
        return [len(part) for part in stream.split(b"\1") if not part.strip(b"\0")] or [len(stream)]

    aud, sps, sei = (make_nal(NalHeader(t), b"\x80") for t in (20, 15, 23))
    assert join_annex_b([aud, sps, sei]) == b"\0\0\0\1" + aud + b"\0\0\0\1" + sps + b"\0\0\1" + sei
    assert start(NalUnitType.AUD)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(DamagedStream, match="start code"):
        list(split_annex_b([b"RIFF", b"\0\0\1abc"]))
    with pytest.raises(TruncatedStream, match="no NAL unit"):
        list(split_annex_b([b"\0\0"]))
    with pytest.raises(LimitExceeded):
        list(split_annex_b([b"\0\0\1" + b"x" * 100] * 3, max_nal_bytes=50))
    with pytest.raises(UnsupportedStream, match="layer 1"):
        NalHeader.read(b"\x01\x01")
    with pytest.raises(DamagedStream):
        NalHeader.read(b"\x80\x01")
    with pytest.raises(DamagedStream):
        NalHeader.read(b"\x00\x00")


def test_splitting_is_fast() -> None:
    stream = b"".join(b"\0\0\1\0\1" + bytes([i % 251 + 1]) * 5000 for i in range(4000))
    chunks = [stream[i : i + 65536] for i in range(0, len(stream), 65536)]
    start = time.process_time()
    assert sum(map(len, split_annex_b(chunks))) == len(stream) - 3 * 4000
    assert len(stream) / (time.process_time() - start) > 100e6
