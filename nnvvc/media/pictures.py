"""Picture files (png, jpeg and what else OpenCV reads) and numbered sequences of them."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nnvvc.errors import ConfigError, InputError, OutputError
from nnvvc.files import atomic_path
from nnvvc.media.colour import picture_to_rgb, rgb_to_picture
from nnvvc.picture import MAX_DIMENSION, Chroma, Picture, PictureFormat

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}

_NUMBER = re.compile(r"%(0\d+)?d")


def is_pattern(path: str) -> bool:
    """Whether a path names a numbered sequence, such as frame_%05d.png."""
    return _NUMBER.search(Path(path).name) is not None


def read_picture(path: Path) -> Picture:
    """Read one picture file: grey as full-range 4:0:0 at 8 bits, colour as limited-range BT.709 4:2:0 at 10.

    Ten bits keep what the conversion from RGB would round away. EXIF orientation is applied, transparency is
    dropped. Raises InputError where the file is missing, empty, damaged, too large or of another type.
    """
    import cv2

    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if data.size == 0:
        raise InputError(f"{path} is empty")
    try:
        # Orientation is only applied to the plain colour and grey modes, and 16 bits kept by ANYDEPTH.
        pixels = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error as error:
        raise InputError(f"{path} cannot be decoded: larger than OpenCV accepts, or damaged") from error
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} is not a picture that can be read: use png or jpeg")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_DIMENSION:
        raise InputError(f"{path} is {width}x{height}: the largest side read is {MAX_DIMENSION}")
    if pixels.ndim == 2:
        grey = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257.0)
        fmt = PictureFormat(width, height, 8, Chroma.C400, full_range=True)
        return Picture((grey.astype(np.uint16),), fmt)
    return rgb_to_picture(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), bit_depth=10)


def write_png(path: Path, picture: Picture, bits: int = 8) -> None:
    """Write one picture as png of 8 or 16 bits, grey for 4:0:0. Raises OutputError."""
    import cv2

    pixels = picture_to_rgb(picture, bits)
    pixels = pixels[..., 0] if picture.format.chroma is Chroma.C400 else pixels[..., ::-1]
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise OutputError(f"{path}: the picture cannot be written as png")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def sequence_paths(pattern: str) -> list[Path]:
    """The files of a numbered sequence in order, from the lowest number on without a gap.

    Raises InputError where there is none.
    """
    folder, name = Path(pattern).parent, Path(pattern).name
    parts = _NUMBER.split(name)
    expression = re.compile(re.escape(parts[0]) + r"(\d+)" + re.escape(parts[-1]))
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted(int(match[1]) for name in names if (match := expression.fullmatch(name)))
    paths: list[Path] = []
    for number in itertools.count(numbers[0] if numbers else 0):
        path = pattern_path(pattern, number)
        if not path.exists():
            break
        paths.append(path)
    if not paths:
        raise InputError(f"no file fits {pattern}")
    return paths


def pattern_path(pattern: str, number: int) -> Path:
    """The name of one picture of a numbered sequence. Raises ConfigError where the name has two numbers."""
    name = Path(pattern).name
    if len(_NUMBER.findall(name)) != 1 or "%" in _NUMBER.sub("", name):
        raise ConfigError(f"{pattern}: a sequence's name has one number, such as frame_%05d.png")
    return Path(pattern).with_name(name % number)


def read_sequence(paths: list[Path]) -> Iterator[Picture]:
    """The pictures of a sequence. Raises InputError where one is damaged or of another size or kind."""
    first: PictureFormat | None = None
    for path in paths:
        picture = read_picture(path)
        if first is not None and picture.format != first:
            if picture.format.width == first.width and picture.format.height == first.height:
                raise InputError(f"{path} is of another kind (grey or colour) than the first of its sequence")
            raise InputError(
                f"{path} is {picture.format.width}x{picture.format.height}, the sequence "
                f"{first.width}x{first.height}"
            )
        first = first or picture.format
        yield picture
