"""The filter for machines on a video's decoded pictures, as the messages in the stream have it."""

from collections.abc import Callable

from nnvvc.bitstream.header import ModelReference, StreamHeader
from nnvvc.codecs.filter_updates import Change, FilterState, changed
from nnvvc.codecs.neural_filter import NeuralFilter
from nnvvc.codecs.output_order import PictureFacts
from nnvvc.codecs.scale import restored, scaled_format
from nnvvc.models.adaptable import Adaptable
from nnvvc.models.filters import load_filter
from nnvvc.models.quantised import fastest
from nnvvc.models.registry import weights_of
from nnvvc.picture import Picture


class MachineFilter:
    """Pictures have to come in output order.

    used: the model; raises UnknownModel where it is not installed. apply: its network on pictures of the
    stream. conceal: as for `FilterState`.
    """

    def __init__(
        self,
        used: ModelReference,
        apply: NeuralFilter,
        header: StreamHeader,
        conceal: Callable[[str], None] | None = None,
    ) -> None:
        self._adaptable = Adaptable(load_filter(weights_of(used)))
        self._plain, self._apply = apply.model, apply
        self._scaled = scaled_format(header.source.picture, header.scale)
        self._state = FilterState(used.number, self._adaptable.count, None, conceal)
        self._change: Change | None = None

    def __call__(self, picture: Picture, facts: PictureFacts) -> Picture:
        """What machines see of one picture. Raises StreamError for damaged messages."""
        on, change = self._state.follow(facts)
        if facts.learned is not None:
            return restored(facts.learned, self._scaled, self._apply.target)
        if not on:
            return restored(picture, self._scaled, self._apply.target)
        if change is not self._change:
            self._change = change
            self._apply.model = self._plain if change is None else fastest(changed(self._adaptable, change))
        return self._apply(picture, facts.layer)
