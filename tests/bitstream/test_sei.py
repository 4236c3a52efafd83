from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnvvc.bitstream.nal import NalHeader, NalUnitType
from nnvvc.bitstream.sei import (
    HashType,
    SeiMessage,
    SeiType,
    nnpf_activation,
    nnpf_characteristics,
    picture_digests,
    picture_hash,
    project_data,
    read_known,
    read_sei,
    user_data,
    write_sei,
)
from nnvvc.errors import StreamError, UnsupportedStream

FILTER = {
    "purpose": 1,
    "id": 5,
    "base_flag": 1,
    "mode_idc": 0,
    "property_present_flag": 1,
    "inp_format_idc": 1,
    "auxiliary_inp_idc": 1,
    "inp_order_idc": 3,
    "inp_tensor_luma_bitdepth_minus8": 2,
    "inp_tensor_chroma_bitdepth_minus8": 2,
    "out_format_idc": 1,
    "out_order_idc": 3,
    "out_tensor_luma_bitdepth_minus8": 2,
    "out_tensor_chroma_bitdepth_minus8": 2,
    "constant_patch_size_flag": 1,
    "patch_width_minus1": 63,
    "patch_height_minus1": 63,
    "overlap": 8,
    "padding_type": 1,
    "complexity_info_present_flag": 1,
    "parameter_type_idc": 1,
    "log2_parameter_bit_length_minus3": 2,
    "num_parameters_idc": 4,
    "num_kmac_operations_idc": 10,
    "metadata_extension_num_bits": 4,
    "for_human_viewing_idc": 1,
    "for_machine_analysis_idc": 3,
    "payload_byte": b"\0\0\0weights",
}


@given(st.lists(st.builds(SeiMessage, st.integers(0, 1000), st.binary(max_size=600)), min_size=1, max_size=5))
def test_messages_come_back(messages: list[SeiMessage]) -> None:
    nal = write_sei(messages)
    assert NalHeader.read(nal).type is NalUnitType.PREFIX_SEI
    assert list(read_sei(nal)) == messages


@given(st.binary(max_size=80))
def test_random_bytes_give_messages_or_typed_errors(data: bytes) -> None:
    try:
        for message in read_sei(b"\0\xb9" + data):
            read_known(message)
            project_data(message)
    except StreamError:
        pass


@given(st.sampled_from(SeiType), st.binary(max_size=80))
def test_random_payloads_of_known_types(kind: SeiType, data: bytes) -> None:
    with suppress(StreamError):
        assert read_known(SeiMessage(kind, data)) is not None


def test_a_post_filter_comes_back() -> None:
    message = nnpf_characteristics(**FILTER)
    nal = write_sei([message], suffix=True)
    assert NalHeader.read(nal).type is NalUnitType.SUFFIX_SEI
    known = read_known(next(read_sei(nal)))
    assert known is not None
    name, values = known
    assert name == "nn_post_filter_characteristics"
    assert {k: values[f"nnpfc_{k}"] for k in FILTER} == FILTER


def test_a_filter_given_by_address() -> None:
    message = nnpf_characteristics(
        purpose=4, id=1, base_flag=1, mode_idc=1, uri_tag="tag:x", uri="https://x/é"
    )
    known = read_known(message)
    assert known is not None
    assert (known[1]["nnpfc_uri_tag"], known[1]["nnpfc_uri"]) == ("tag:x", "https://x/é")


def test_an_activation_always_has_its_tail() -> None:
    plain = nnpf_activation(target_id=5, persistence_flag=1)
    known = read_known(plain)
    assert known is not None
    values = known[1]
    assert (values["nnpfa_target_id"], values["nnpfa_persistence_flag"]) == (5, 1)
    # id 5 bits, cancel, persistence, base, no_prev, no_foll, entries, prompt, seed, selected input, stop bit
    assert len(plain.payload) == 2
    assert not values["nnpfa_prompt_update_flag"]


def test_reserved_and_unsupported_filters_are_refused() -> None:
    with pytest.raises(ValueError, match="reserved"):
        nnpf_characteristics(id=300)
    with pytest.raises(UnsupportedStream):
        nnpf_characteristics(purpose=128)


@pytest.mark.parametrize("kind", list(HashType))
def test_picture_hashes(kind: HashType) -> None:
    size = {HashType.MD5: 16, HashType.CRC: 2, HashType.CHECKSUM: 4}[kind]
    for planes in (1, 3):
        digests = tuple(bytes([p + 1]) * size for p in range(planes))
        message = picture_hash(kind, digests)
        assert len(message.payload) == 2 + planes * size
        assert picture_digests(message) == (kind, digests)


def test_data_of_this_project_is_told_from_others() -> None:
    assert project_data(user_data(b"blocks")) == b"blocks"
    assert project_data(SeiMessage(SeiType.USER_DATA_UNREGISTERED, b"x" * 20)) is None
