"""The filter for machines on pictures of the learned image codec: it brings them up to the source's size."""

from dataclasses import replace
from fractions import Fraction

from nnvvc.bitstream.header import ModelReference
from nnvvc.codecs.neural_filter import NeuralFilter, installed_filter
from nnvvc.models.filters import KEY_QP_OFFSET
from nnvvc.picture import Chroma, Picture, PictureFormat


class LearnedFilter:
    """used: the model. coded, source: formats of decoded pictures and of what is shown. block_map: the stream
    header's, where the model is several filters. Raises UnknownModel, StreamError for a damaged map.
    """

    def __init__(
        self,
        used: ModelReference,
        coded: PictureFormat,
        source: PictureFormat,
        scale: Fraction,
        block_map: bytes = b"",
    ) -> None:
        self._model = installed_filter(used)
        self._coded = replace(coded, chroma=Chroma.C420)
        self._shown = replace(source, chroma=Chroma.C420, bit_depth=coded.bit_depth)
        self._scale, self._source, self._block_map = scale, source, block_map
        self.network(0)  # A damaged map is an error before any picture is decoded.

    def network(self, qp: int) -> NeuralFilter:
        """The filter for pictures that the image codec coded with `qp`."""
        apply = NeuralFilter(self._model, self._coded, self._shown, self._scale, qp - KEY_QP_OFFSET)
        apply.choose(self._block_map)
        return apply

    def __call__(self, picture: Picture, qp: int) -> Picture:
        """What machines see of a decoded picture, at full size, 10 bits."""
        return self.network(qp)(picture.with_chroma(Chroma.C420)).with_chroma(self._source.chroma)
