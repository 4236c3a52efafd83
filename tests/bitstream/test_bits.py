import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.bitstream.bits import BitReader, BitWriter
from nnvvc.errors import DamagedStream, StreamError, TruncatedStream

codes = st.lists(
    st.one_of(
        st.tuples(st.just("ue"), st.integers(0, 2**32 - 2)),
        st.tuples(st.just("se"), st.integers(-(2**31) + 1, 2**31 - 1)),
        st.integers(1, 80).flatmap(lambda n: st.tuples(st.just(f"u{n}"), st.integers(0, 2**n - 1))),
        st.tuples(st.just("leb128"), st.integers(0, 2**32 - 1)),
    ),
    max_size=40,
)


@given(codes)
def test_what_is_written_is_read(values: list[tuple[str, int]]) -> None:
    writer = BitWriter()
    for code, value in values:
        if code.startswith("u") and code != "ue":
            writer.u(value, int(code[1:]))
        else:
            getattr(writer, code)(value)
    writer.trailing_bits()
    reader = BitReader(writer.getvalue())
    for code, value in values:
        assert reader.more_data()
        if code.startswith("u") and code != "ue":
            assert reader.u(int(code[1:])) == value
        else:
            assert getattr(reader, code)() == value
    assert not reader.more_data()
    reader.trailing_bits()
    assert reader.remaining == 0


@given(
    st.binary(max_size=24),
    st.lists(st.sampled_from(["ue", "se", "st", "leb128", "align", "more_data"]), max_size=30),
)
def test_random_bytes_give_values_or_typed_errors(data: bytes, reads: list[str]) -> None:
    reader = BitReader(data)
    try:
        for read in reads:
            getattr(reader, read)()
            assert 0 <= reader.position <= 8 * len(data)
    except StreamError:
        pass


def test_the_end_and_impossible_codes_are_told_apart() -> None:
    with pytest.raises(TruncatedStream):
        BitReader(b"\0").ue()
    with pytest.raises(DamagedStream):
        BitReader(b"\0" * 8).ue()
    with pytest.raises(TruncatedStream):
        BitReader(b"a").u(9)
    with pytest.raises(TruncatedStream):
        BitReader(b"abc").st()
    with pytest.raises(DamagedStream):
        BitReader(b"\xff\0").st()
    with pytest.raises(DamagedStream):
        BitReader(b"\x80\x00").leb128()


def test_values_that_do_not_fit_are_refused() -> None:
    for call in (lambda w: w.u(4, 2), lambda w: w.ue(-1), lambda w: w.st("a\0"), lambda w: w.leb128(1 << 32)):
        with pytest.raises(ValueError, match=r"fit|zero"):
            call(BitWriter())


def test_the_longest_code_is_read() -> None:
    writer = BitWriter()
    writer.u(1, 7)
    writer.ue(2**32 - 2)
    writer.align()
    reader = BitReader(writer.getvalue())
    reader.u(7)
    assert reader.ue() == 2**32 - 2
