"""The pictures of a report: of each image a strip of panels, and what is found while it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from iem_xp import rendering
from iem_xp.evaluation.comparing import compare
from iem_xp.evaluation.matching import Matching, Pair
from iem_xp.images import ImageError, Mask, Pixels, fit_truth, read_again
from iem_xp.labels import FOREGROUND, IGNORED, Labels, read_labels, resize_labels
from iem_xp.metrics import iou
from iem_xp.report.rows import Shown
from iem_xp.runs.records import Entry
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run, is_run

PANELS = ("image", "mask", "cutout", "inpainted")
REFINED, TRUTH = "refined", "truth"
"""Panels that a strip has where the run has been refined, and where its truth is known."""

_QUALITY = 80


@dataclass(frozen=True)
class Beside:
    """Masks to compare those of a run with.

    Attributes
    ----------
    refined : mapping, optional
        Files of the refined masks by the images' paths, None for what was refined before the image changed;
        None altogether if the run has not been refined.
    truths, refined_truths : mapping, optional
        Masks and refined masks with what is true of them, by the masks' files; None if no truth is known.
    crop : int, optional
        Side of the central squares that the refined masks are of, None if they are of whole images.
    """

    refined: Mapping[Path, Path | None] | None = None
    truths: Mapping[str, Pair] | None = None
    refined_truths: Mapping[str, Pair] | None = None
    crop: int | None = None

    @property
    def panels(self) -> tuple[str, ...]:
        """Names of the panels of a strip."""
        refined = () if self.refined is None else (REFINED,)
        return (*PANELS, *refined, *(() if self.truths is None else (TRUTH,)))


def find_refined(
    folder: Path, digests: Mapping[Path, bytes | None]
) -> tuple[dict[Path, Path | None] | None, int | None]:
    """Find the refined masks of a run's images, as `Beside` has them, and the side of their crops, if any.

    `digests` are those of the images when they were segmented, by their paths.
    """
    if not is_run(folder / "refined"):
        return None, None
    with Run.open(folder / "refined", to_write=False) as run:
        files: dict[Path, Path | None] = {}
        for entry in (finished.entry for finished in run.finished()):
            if (path := entry.source.path) in digests:
                same = entry.stamp is None or digests[path] in (None, entry.stamp.digest)
                files[path] = _file(run, entry) if same else None
        return files, _crop(Settings.of_configuration(run.get_meta("configuration")))


def by_mask(matching: Matching) -> dict[str, Pair]:
    """Pairs by the file of their mask."""
    return {pair.prediction.file: pair for pair in matching.pairs}


class Strip(NamedTuple):
    """What was drawn of an image, and what was found of it.

    Attributes
    ----------
    picture : bytes
        A WebP of the panels side by side.
    row : dict
        JSON values to add to the image's row: ``panel``, width and height of a panel; ``has``, a digit for
        each panel, 1 if its picture is there; ``problem``, why one is not; ``iou``, ``either`` (the IoU of
        the better polarity), ``refined_iou`` and ``agreement``, the IoU of mask and refined mask.
    """

    picture: bytes
    row: dict[str, Any]


class Artist:
    """Draws the strips of a run, in any thread.

    Parameters
    ----------
    masks : Path
        The run's folder of masks.
    settings : Settings
        Of the run.
    beside : Beside
    longest : int
        Longest side of a panel, in pixels, >= 1.
    """

    def __init__(self, masks: Path, settings: Settings, beside: Beside, longest: int) -> None:
        self._masks = masks
        self._settings = settings
        self._beside = beside
        self._longest = longest

    def draw(self, shown: Shown) -> Strip:
        """Draw what is there; of what is not, the row has the cause."""
        entry = shown.finished.entry
        crop = _crop(self._settings)
        shape = (crop, crop) if crop else (entry.height, entry.width)
        height, width = (max(1, round(side * self._longest / max(shape))) for side in shape)
        problems: list[str] = []
        row: dict[str, Any] = {"panel": [width, height]}
        image: Pixels | None = None
        mask: Mask | None = None
        with _noted(problems):
            image = self._read_image(entry)
        file = self._masks / entry.source.shard / entry.source.mask
        with _noted(problems):
            mask = _read_mask(file, shape)
        panels = dict.fromkeys(self._beside.panels, None) | self._draw_mask(image, mask, height, width)
        small = panels["image"]
        if self._beside.refined is not None and entry.source.path in self._beside.refined:
            other = self._beside.refined[entry.source.path]
            with _noted(problems):
                if other is None:
                    raise ImageError(
                        f"{entry.source.path}: was refined before it changed; iem-xp refine does so anew"
                    )
                refined = _read_mask(other, (self._beside.crop,) * 2 if self._beside.crop else shape)
                panels[REFINED] = _over(small, _reduced(refined, height, width))
                if mask is not None and mask.shape == refined.shape:
                    row["agreement"] = round(float(iou(mask[None], refined[None])[0]), 4)
                row |= self._score(other, self._beside.refined_truths, self._beside.crop, "refined_")
        if self._beside.truths is not None and (pair := self._beside.truths.get(str(file))):
            with _noted(problems):
                labels = read_labels(str(pair.truth))
                labels = fit_truth(labels, crop, "crop") if crop else labels
                panels[TRUTH] = _truth_over(small, resize_labels(labels, height, width))
                if mask is not None:
                    row |= self._score(file, self._beside.truths, crop)
        row["has"] = "".join("0" if pixels is None else "1" for pixels in panels.values())
        if problems:
            row["problem"] = "; ".join(dict.fromkeys(problems))
        return Strip(_encode(rendering.strip(list(panels.values()), height, width)), row)

    def _read_image(self, entry: Entry) -> Pixels:
        """The image, or its central square: uint8 (H, W, 3)."""
        digest = entry.stamp and entry.stamp.digest
        pixels = read_again(entry.source.path, entry.height, entry.width, digest)
        return self._settings.at_work(pixels) if self._settings.fit == "crop" else pixels

    def _draw_mask(
        self, image: Pixels | None, mask: Mask | None, height: int, width: int
    ) -> dict[str, Pixels | None]:
        """The first panels; without its image, a mask is white on black."""
        small = None if image is None else rendering.resized(image, height, width)
        panels: dict[str, Pixels | None] = {"image": small}
        if mask is None:
            return panels
        panels["mask"] = _over(small, _reduced(mask, height, width))
        if image is not None and small is not None:
            soft = _averaged(mask, height, width)
            panels["cutout"] = np.dstack([small, soft])
            working = self._settings.at_work(image)
            found = _reduced(mask, *working.shape[:2])
            panels["inpainted"] = rendering.inpainted(working, found, self._settings.config)
        return panels

    @staticmethod
    def _score(
        file: Path, pairs: Mapping[str, Pair] | None, crop: int | None, prefix: str = ""
    ) -> dict[str, float]:
        """How well a mask agrees with its truth, if that is known."""
        if not pairs or (pair := pairs.get(str(file))) is None:
            return {}
        comparison = compare(pair, crop)
        if comparison.score is None:
            raise ImageError(str(comparison.error))
        figures = {"iou": "fixed_iou", "either": "either_iou"}
        return {f"{prefix}{name}": round(comparison.score[key], 4) for name, key in figures.items()}


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Note why something of an image cannot be shown; it costs that alone."""
    try:
        yield
    except ImageError as error:
        problems.append(str(error))


def _crop(settings: Settings) -> int | None:
    return settings.size if settings.fit == "crop" else None


def _file(run: Run, entry: Entry) -> Path:
    return run.masks / entry.source.shard / entry.source.mask


def _read_mask(file: Path, shape: tuple[int, ...]) -> Mask:
    mask = read_labels(file) == FOREGROUND
    if mask.shape != shape:
        raise ImageError(f"{file}: has another size than when it was written")
    return mask


def _averaged(mask: Mask, height: int, width: int) -> Pixels:
    """How much of each pixel of another size is foreground: uint8 (height, width), 255 for all."""
    grey = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    return np.asarray(grey.resize((width, height), Image.Resampling.BOX))


def _reduced(mask: Mask, height: int, width: int) -> Mask:
    return _averaged(mask, height, width) > 127


def _over(image: Pixels | None, mask: Mask) -> Pixels:
    return np.where(mask, np.uint8(255), np.uint8(0)) if image is None else rendering.overlay(image, mask)


def _truth_over(image: Pixels | None, labels: Labels) -> Pixels:
    """The true mask over its image, with what is ignored grey."""
    if image is None:
        return labels
    picture = rendering.overlay(image, labels == FOREGROUND)
    picture[labels == IGNORED] = rendering.ABSENT
    return picture


def _encode(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()
