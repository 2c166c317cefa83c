"""The flowers of Oxford: 102 categories with automatic segmentations, 17 with trimaps drawn by people."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from iem_xp.datasets.examples import Dataset, DatasetError, Example
from iem_xp.datasets.parts import Origin, check_split
from iem_xp.images import ImageError, Pixels, read_image
from iem_xp.labels import Labels, to_labels

FLOWERS102_SPLITS = {
    "test": ("trnid",),
    "validation": ("valid",),
    "training": ("tstid",),
    "all": ("trnid", "valid", "tstid"),
}
"""Variables of setid.mat; the paper tests on what the authors of the data set trained on, and vice versa."""

_PAGE102 = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_PAGE17 = "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/"

_FLOWER = (128, 0, 0)
_BACKGROUND = (128, 128, 0)


def flowers102(root: str | os.PathLike[str], split: str = "test") -> Dataset:
    """Oxford 102 Flowers (Nilsback and Zisserman, 2008), with its automatic segmentations.

    Parameters
    ----------
    root : path
        Folder with `jpg/image_00001.jpg`, `segmim/segmim_00001.jpg`, ... and `setid.mat`.
    split : {"test", "validation", "training", "all"}
        As in the paper and in ReDO: 1,020, 1,020, 6,149 and 8,189 images, by number.

    Raises
    ------
    DatasetError
        If the download is not complete or not unpacked.
    """
    check_split(split, FLOWERS102_SPLITS)
    root = Path(root)
    jpg, segmim = Origin("102flowers.tgz", _PAGE102), Origin("102segmentations.tgz", _PAGE102)
    index = Origin("setid.mat", _PAGE102).check(root / "setid.mat")
    numbers = _read_numbers(index, FLOWERS102_SPLITS[split])
    images = [jpg.check(root / "jpg") / f"image_{number:05d}.jpg" for number in numbers]
    truths = [segmim.check(root / "segmim") / f"segmim_{number:05d}.jpg" for number in numbers]
    jpg.check_files(images)
    segmim.check_files(truths)
    return Dataset(f"Oxford 102 Flowers, {split}", _pairs(images, truths, read_segmim))


def flowers17(root: str | os.PathLike[str]) -> Dataset:
    """Oxford 17 Flowers (Nilsback and Zisserman, 2006): the images that have a trimap.

    Parameters
    ----------
    root : path
        Folder with `jpg/image_0001.jpg` and `trimaps/image_0001.png`, and so on. `trimaps/imlist.mat`
        lists the numbers of the images that have a trimap; without it they are those of the files.

    Raises
    ------
    DatasetError
        If the download is not complete or not unpacked.
    """
    root = Path(root)
    jpg, trimaps = Origin("17flowers.tgz", _PAGE17), Origin("trimaps.tgz", _PAGE17)
    folder, index = trimaps.check(root / "trimaps"), root / "trimaps" / "imlist.mat"
    if index.exists():
        truths = [folder / f"image_{number:04d}.png" for number in _read_numbers(index, ["imlist"])]
    else:
        truths = sorted(folder.glob("image_*.png")) or [trimaps.check(folder / "image_0001.png")]
    images = [jpg.check(root / "jpg") / f"{truth.stem}.jpg" for truth in truths]
    jpg.check_files(images)
    trimaps.check_files(truths)
    return Dataset("Oxford 17 Flowers", _pairs(images, truths, read_trimap))


def read_segmim(file: str | os.PathLike[str]) -> Labels:
    """Read a segmentation of Flowers 102, a picture of the flower on blue, as ReDO and the paper do.

    A pixel is background where its red is 0, its green is 0 or its blue is 254.

    Returns
    -------
    uint8 array (H, W) of 0 and 255

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    red, green, blue = _channels(file)
    return to_labels((red != 0) & (green != 0) & (blue != 254))


def read_trimap(file: str | os.PathLike[str]) -> Labels:
    """Read a trimap of Flowers 17: dark red is the flower, olive the background, all else is ignored.

    Returns
    -------
    uint8 array (H, W) of 0, 128 and 255

    Raises
    ------
    ImageError
        If the file cannot be read, or has neither colour anywhere.
    """
    channels = _channels(file)
    flower, background = (
        (channels[0] == red) & (channels[1] == green) & (channels[2] == blue)
        for red, green, blue in (_FLOWER, _BACKGROUND)
    )
    if not (flower | background).any():
        raise ImageError(
            f"{os.fspath(file)}: not a trimap as expected: no pixel is dark red {_FLOWER}, the flower, or "
            f"olive {_BACKGROUND}, the background"
        )
    return to_labels(flower, ~(flower | background))


def _pairs(
    images: Iterable[Path], truths: Iterable[Path], read_truth: Callable[[Path], Labels]
) -> list[Example]:
    return [
        Example(image.stem, image, partial(read_truth, truth))
        for image, truth in zip(images, truths, strict=True)
    ]


def _channels(file: str | os.PathLike[str]) -> tuple[Pixels, Pixels, Pixels]:
    pixels = read_image(file).pixels
    return pixels[..., 0], pixels[..., 1], pixels[..., 2]


def _read_numbers(file: Path, variables: Iterable[str]) -> list[int]:
    """Numbers of images, sorted, of the variables of a MATLAB file."""
    from scipy.io import loadmat

    try:
        content = loadmat(file)
        numbers = sorted({int(number) for name in variables for number in content[name].flat})
    except KeyError as error:
        raise DatasetError(f"{file}: has no variable {error}") from error
    except Exception as error:  # SciPy meets damaged files with errors of every type.
        raise DatasetError(f"{file}: not a MATLAB file of numbers; get it anew ({error})") from error
    if not numbers:
        raise DatasetError(f"{file}: lists no image")
    return numbers
