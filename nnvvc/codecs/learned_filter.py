"""The filter for machines on pictures of the learned image codec: it brings them up to the source's size."""

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from nnvvc.bitstream.header import ModelReference
from nnvvc.codecs.neural_filter import NeuralFilter, installed_filter
from nnvvc.models.filters import KEY_QP_OFFSET, PictureFilter, enlargement, load_filter
from nnvvc.models.planes import Enhancement
from nnvvc.models.registry import weights_of
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


def enhancement(used: ModelReference, scale: Fraction, qp: int) -> Enhancement:
    """The same with gradients, for pictures coded at `scale` with `qp`; the first filter, where there are
    several. Raises UnknownModel.
    """
    model = _with_gradients(used)
    given = torch.tensor([float(qp)]), torch.tensor([float(scale)]), enlargement(scale)

    def enhance(luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
        filtered: tuple[Tensor, Tensor] = model(luma, chroma, *given)[0]
        return filtered

    return enhance


@lru_cache(maxsize=2)
def _with_gradients(used: ModelReference) -> PictureFilter:
    # Gradients have to go through it, whoever asks for it first.
    with torch.inference_mode(False):
        return load_filter(weights_of(used))
