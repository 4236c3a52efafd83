"""`--effort full`: a group of pictures is encoded with each of several key pictures; the best one is kept."""

from collections.abc import Sequence
from fractions import Fraction

from nnvvc.bitstream.access_unit import AccessUnits
from nnvvc.bitstream.nal import join_annex_b, split_annex_b
from nnvvc.codecs.cost import cost_for
from nnvvc.codecs.key_pictures import CodedKey
from nnvvc.errors import ToolFailed
from nnvvc.options import Purpose
from nnvvc.picture import Picture
from nnvvc.vvc.lossless import lossless_settings, smallest_step, stepped
from nnvvc.vvc.tools import (
    CodedFormat,
    DecoderSettings,
    VvcSettings,
    coded_format,
    decoder,
    encoder,
    from_coded,
    to_coded,
)

LONGEST = 64
"""Pictures of a group that are tried, at most: what has to be held in memory."""


class GroupTrial:
    """Encodes groups of pictures, coded at `scale`, as VVenC codes them in the video, each by itself."""

    def __init__(
        self, settings: VvcSettings, fps: Fraction, tool: str, purpose: Purpose, scale: Fraction
    ) -> None:
        self._settings = settings
        self._fps = fps
        self._tool = tool
        self._purpose = purpose
        self._cost = cost_for(purpose, scale)

    def best(self, group: Sequence[Picture], candidates: Sequence[CodedKey]) -> CodedKey:
        """The candidate for the group's first picture with which the group costs least.

        group: 10 bits, 4:2:0. Raises ToolError.
        """
        if len(candidates) == 1:
            return candidates[0]
        return min(candidates, key=lambda key: self.cost(group, key))

    def cost(self, group: Sequence[Picture], key: CodedKey) -> float:
        """What the group costs with this key picture."""
        fmt = group[0].format
        coded = coded_format(fmt)
        placed = to_coded(key.picture, coded)
        log2_step = smallest_step(placed)
        first = stepped(placed, log2_step)
        settings = lossless_settings(self._settings, log2_step)
        given = [first, *(to_coded(picture, coded) for picture in group[1:])]
        units = list(
            AccessUnits(split_annex_b(encoder(self._tool).encode(given, coded, self._fps, settings)))
        )
        size = units[0].size
        if size is None:
            raise ToolFailed("VVenC gave an access unit without a picture")
        inter = sum(len(unit.tobytes()) for unit in units if not unit.irap)
        chunks = [join_annex_b(nal for unit in units for nal in unit.nals)]
        decoded = decoder().decode(chunks, CodedFormat(coded, size.ctu_size), DecoderSettings())
        shown = [from_coded(picture, fmt) for picture in decoded]
        if key.learned is not None and self._purpose == "machines":
            shown[0] = key.learned
        return self._cost(shown, group, len(key.data) + inter, self._settings.qp)


__all__ = ["LONGEST", "GroupTrial"]
