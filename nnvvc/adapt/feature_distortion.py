"""What finetuning of latents for machines makes small: errors of features, and some squared error."""

from torch import Tensor

from nnvvc.adapt.latents import people_distortion
from nnvvc.adapt.loss_networks import PictureLoss
from nnvvc.models.planes import Enhancement, rgb_of_planes
from nnvvc.picture import Picture, PictureFormat

SQUARED_SHARE = 0.5
"""What the squared error counts for: it speaks for all networks that are not asked."""

SIZES = (1.0, 0.65)
"""At which detectors look at the picture: what only one size shows is worth little to other networks."""


class FeatureDistortion:
    """A `Distortion` for one picture.

    The feature loss is brought to the size of the squared error of what is seen first, so that it is weighed
    against bits as that is.
    """

    def __init__(self, original: Picture, coded: PictureFormat, enhance: Enhancement | None = None) -> None:
        """original: the source at full size. coded: the format at which it is coded. enhance: the filter that
        decoders have. Raises ConfigError where the loss networks are not there.
        """
        self._loss = PictureLoss(original, SIZES)
        self._size = (original.format.height, original.format.width)
        self._coded = coded
        self._enhance = enhance
        self._unit: float | None = None

    def __call__(self, planes: Tensor, original: Tensor) -> Tensor:
        squared = people_distortion(planes, original)
        features = self.features(planes)
        if self._unit is None:
            self._unit = float(squared.detach()) / max(float(features.detach()), 1e-6)
        return SQUARED_SHARE * squared + (1 - SQUARED_SHARE) * self._unit * features

    def features(self, planes: Tensor) -> Tensor:
        """The feature loss alone."""
        return self._loss.of(rgb_of_planes(planes, self._coded, self._size, self._enhance))
