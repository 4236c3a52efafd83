"""Messages that change a filter within a stream: the encoder writes, the decoder follows them.

An update is a post-filter characteristics message of the base filter's number, whose URI has the bytes or
names the user data message that has them, whichever is smaller; an activation says what holds from its
picture on, in output order: the base filter, the updated one, or none. Without any activation, as where a
filter also enlarges pictures, it is the updated one.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nnvvc.bitstream.filter_update import FilterUpdate
from nnvvc.bitstream.sei import (
    NNPF_ACTIVATION,
    NNPF_CHARACTERISTICS,
    RESAMPLING,
    VISUAL_QUALITY,
    SeiMessage,
    SeiType,
    nnpf_characteristics,
    project_data,
    read_payload_of,
    user_data,
)
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.entropy.block_map import BlockMap, decode_blocks, map_shape
from nnvvc.entropy.small_numbers import LARGEST, decode_numbers
from nnvvc.errors import DamagedStream, StreamError
from nnvvc.models.adaptable import Adaptable, Network

UPDATE_TAG = "tag:nnvvc,2026:update"
"""The URI's form: `data:;base64,...`, or SEI_URI for the user data message in the same access unit."""

SEI_URI = "nnvvc:sei"
_DATA_URI = "data:;base64,"
_UPDATE = b"\x02"
"""First byte of the user data that holds an update."""


@dataclass(frozen=True)
class Change:
    """What is added to the biases, and where the filter is off (None: nowhere)."""

    biases: NDArray[np.float32]
    off: BlockMap | None = None


def changed(adaptable: Adaptable[Network], change: Change) -> Network:
    """The network with the biases of a change."""
    return adaptable.applied(torch.from_numpy(change.biases))


def update_messages(update: FilterUpdate, number: int, resampling: bool) -> list[SeiMessage]:
    """For a prefix SEI NAL unit. number: of the filter's model. resampling: it enlarges pictures."""
    body = update.tobytes()

    def characteristics(uri: str) -> SeiMessage:
        purpose = RESAMPLING if resampling else VISUAL_QUALITY
        return nnpf_characteristics(
            purpose=purpose, id=number, base_flag=0, mode_idc=1, uri_tag=UPDATE_TAG, uri=uri
        )

    inline = [characteristics(_DATA_URI + base64.b64encode(body).decode())]
    apart = [user_data(_UPDATE + body), characteristics(SEI_URI)]
    return min(inline, apart, key=lambda messages: sum(2 + len(m.payload) for m in messages))


class FilterState:
    """Follows the messages of pictures in output order.

    number: of the filter's model. count: of its biases. size: width and height of the pictures; None for a
    filter that cannot be off in blocks. conceal: takes a function for notes: damaged messages are then
    reported, and the base filter goes on.
    """

    def __init__(
        self,
        number: int,
        count: int,
        size: tuple[int, int] | None,
        conceal: Callable[[str], None] | None = None,
    ) -> None:
        self._number = number
        self._count = count
        self._shape = map_shape(*size) if size is not None else None
        self._conceal = conceal
        self._pictures = 0
        self._numbers: tuple[int, list[int]] | None
        self._change: Change | None
        self._begin()

    def follow(self, facts: PictureFacts) -> tuple[bool, Change | None]:
        """Whether the next picture is filtered, and with which change; None: base. Updates hold to the end of
        their coded video sequence.

        Raises StreamError for messages that are damaged, where that is not concealed.
        """
        self._pictures += 1
        if facts.begins:
            self._begin()
        try:
            return self._follow(facts.messages)
        except StreamError as error:
            if self._conceal is None:
                raise
            # Until the next whole update.
            self._begin()
            self._conceal(f"picture {self._pictures - 1}: {error}; the filter goes on without updates")
            return True, None

    def _begin(self) -> None:
        """The base filter is on, and no update is known."""
        self._on, self._updated, self._change, self._numbers = True, True, None, None

    def _follow(self, messages: Iterable[SeiMessage]) -> tuple[bool, Change | None]:
        body: bytes | None = None
        once: tuple[bool, Change | None] | None = None
        for message in messages:
            data = project_data(message)
            if data is not None and data.startswith(_UPDATE):
                body = data[len(_UPDATE) :]
            elif message.type == SeiType.NNPF_CHARACTERISTICS:
                values = read_payload_of(NNPF_CHARACTERISTICS, message)
                if values["nnpfc_id"] == self._number and not values["nnpfc_base_flag"]:
                    self._update(_update_bytes(values["nnpfc_uri"], body))
            elif message.type == SeiType.NNPF_ACTIVATION:
                values = read_payload_of(NNPF_ACTIVATION, message)
                if values["nnpfa_target_id"] != self._number:
                    continue
                on = not values["nnpfa_cancel_flag"]
                updated = on and not values["nnpfa_target_base_flag"]
                if on and not values["nnpfa_persistence_flag"]:
                    once = True, self._change if updated else None
                else:
                    self._on, self._updated = on, updated
        return once or (self._on, self._change if self._updated else None)

    def _update(self, data: bytes) -> None:
        update = FilterUpdate.frombytes(data)
        numbers = decode_numbers(update.numbers, self._count)
        if update.predicted:
            if self._numbers is None or self._numbers[0] != update.step_idx:
                raise DamagedStream("a filter update changes one that is not there")
            numbers = [a + b for a, b in zip(numbers, self._numbers[1], strict=True)]
        off = None
        if update.block_map is not None:
            if self._shape is None:
                raise DamagedStream("a filter that is on everywhere is turned off in blocks")
            off = decode_blocks(update.block_map, self._shape, 2)
        self._numbers = update.step_idx, numbers
        self._change = Change(biases_of(numbers, update.step_idx), off)


def step_of(step_idx: int) -> float:
    """What an update's numbers are multiples of."""
    step: float = 2.0 ** (-step_idx / 2)
    return step


def biases_of(numbers: list[int], step_idx: int) -> NDArray[np.float32]:
    """What an update's numbers add to the biases."""
    result: NDArray[np.float32] = (np.array(numbers) * step_of(step_idx)).astype(np.float32)
    return result


def numbers_of(biases: NDArray[np.float32], step_idx: int, rounding: float) -> list[int]:
    """The inverse; a part of `rounding` and more is rounded up."""
    scaled = biases / step_of(step_idx)
    whole = np.sign(scaled) * np.floor(np.abs(scaled) + rounding)
    return [int(v) for v in np.clip(whole, -LARGEST, LARGEST)]


def _update_bytes(uri: str, body: bytes | None) -> bytes:
    if uri == SEI_URI:
        if body is None:
            raise DamagedStream("a filter update names user data that is not there")
        return body
    if not uri.startswith(_DATA_URI):
        raise DamagedStream(f"a filter update is at {uri[:40]!r}, which is not of this format")
    try:
        return base64.b64decode(uri[len(_DATA_URI) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise DamagedStream("the bytes in a filter update's URI are damaged") from error
