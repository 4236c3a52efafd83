"""Training of the filter for the image codec's pictures: as for VVC's, on photos that the codec codes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnvvc.codecs.picture_coder import encode_picture, image_model
from nnvvc.media.colour import rgb_to_picture
from nnvvc.models import registry
from nnvvc.models.exact_restoration import Measured, save_exact
from nnvvc.models.image import ImageModel
from nnvvc.models.restoration import RestorationFilter
from nnvvc.picture import Matrix
from nnvvc.training.clip_data import ACROSS, Pairs, divided, patches_of, photo_patches, save_pairs, shared_out
from nnvvc.training.people_filter_task import HELD_OUT, VALIDATED, PeopleFilterTask
from nnvvc.training.photos import data_folder

QPS = (22, 27, 32, 37, 42, 47)

PROFILE = "high"


def make_coded_photos(photos: Path, folder: Path) -> None:
    """Code a patch of every photo with the installed image model; files that are there already are left
    alone. They are as those of `clip_data`, with a layer of 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = image_model(registry.reference(registry.IMAGE_PEOPLE))
    rng = np.random.default_rng(0)
    for name, files in zip((HELD_OUT, "photos"), divided(photos), strict=True):
        for qp, chosen in shared_out(photo_patches(files, rng), QPS, rng):
            target = folder / f"{name}_q{qp}.npz"
            if chosen and not target.exists():
                _code(model, chosen, qp, target)


def _code(model: ImageModel, patches: list[NDArray[np.uint8]], qp: int, target: Path) -> None:
    decoded: list[NDArray[np.uint16]] = []
    original: list[NDArray[np.uint16]] = []
    filled = [*patches, *[patches[0]] * (-len(patches) % ACROSS)]
    for first in range(0, len(filled), ACROSS):
        row = rgb_to_picture(np.hstack(filled[first : first + ACROSS]), 10, Matrix.BT709)
        decoded += patches_of(encode_picture(model, row, qp, PROFILE).picture)
        original += patches_of(row)
    count = len(patches)
    save_pairs(target, Pairs(np.stack(decoded[:count]), np.stack(original[:count]), [0] * count, qp))


class ImageFilterTask(PeopleFilterTask):
    """The task that the training runner drives. Options as of `PeopleFilterTask`, without clips."""

    def __init__(
        self,
        folder: str,
        photos: str | None = None,
        config: dict[str, Any] | None = None,
        start: str | None = None,
        batch: int = 8,
    ) -> None:
        super().__init__(folder, photos, None, config, start=start, batch=batch)

    def make_data(self, folder: Path, photos: str | None, video: str | None) -> None:
        make_coded_photos(data_folder(photos, "train"), folder)

    def export(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write `filter.safetensors`, made exact for the range of the held-out patches, and its card."""
        model = self.model.float().cpu()
        assert isinstance(model, RestorationFilter)
        measured = Measured(model)
        with torch.no_grad():
            patches = self._held_out.to(torch.device("cpu"))
            for rows in torch.split(torch.arange(len(patches)), VALIDATED):
                batch = patches.batch(rows, self.model.neighbours)
                model(batch["luma"], batch["chroma"], batch["key_qp"], batch["layers"])
        save_exact(model, measured.shifts(), folder / "filter.safetensors", facts)
