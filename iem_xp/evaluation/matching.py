"""Which mask belongs to which ground truth, by their names."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from iem_xp.archives.opening import is_archive
from iem_xp.boxes import Box, read_boxes
from iem_xp.images import SUFFIXES, Fit
from iem_xp.runs.inputs import list_images
from iem_xp.runs.records import Entry, Failure
from iem_xp.runs.results import MASKS
from iem_xp.runs.store import Run, is_run


class MatchError(ValueError):
    """Masks and ground truth do not belong together; the message names what does not fit."""


class Prediction(NamedTuple):
    """A mask that was found.

    Attributes
    ----------
    name : str
        Its path below its folder, without suffix.
    file : str
    image : str, optional
        Its image's path in the same place, with its suffix, if that is known.
    shape : (int, int), optional
        Height and width of its image, if they are known.
    """

    name: str
    file: str
    image: str | None = None
    shape: tuple[int, int] | None = None


class Pair(NamedTuple):
    """A ground truth's name, the mask that belongs to it, and its file or, of boxes, the box itself."""

    name: str
    prediction: Prediction
    truth: str | Box


@dataclass(frozen=True)
class Matching:
    """Masks and ground truth, matched; only names are held.

    Attributes
    ----------
    pairs : list of Pair
        In the order of the ground truth.
    missing : dict
        Names of ground truth that has no mask and, if its image failed, why.
    extra : list of str
        Names of masks that have no ground truth.
    boxes : bool
        Whether the ground truth is boxes.
    crop : int or None
        Side of the central squares that the masks are of, as `fit_image` makes them; None if they are of the
        whole images.
    left_out : Counter of str
        Files of the folders that are no images, counted by suffix.
    """

    pairs: list[Pair]
    missing: dict[str, str | None]
    extra: list[str]
    boxes: bool
    crop: int | None
    left_out: Counter[str]


def match(predicted: Path, truth: Path, fit: Fit | None = None, size: int | None = None) -> Matching:
    """Find the mask that belongs to each ground truth.

    Parameters
    ----------
    predicted : Path
        A run, or a folder of masks.
    truth : Path
        A folder of masks, or a ``.csv`` file of boxes as `read_boxes` takes it.
    fit : {"whole", "crop", "squash"}, optional
        How the images of a folder of masks came to their working size, as for `fit_image`: with "crop" the
        masks are of the central squares, otherwise of the whole images. A run knows it itself.
    size : int, optional
        Side of the squares with "crop", by default 128.

    Raises
    ------
    MatchError
        If two masks, or two truths, have one name, if nothing belongs together, or if `fit` or `size` is
        given where it has no meaning.
    SourceError, RunError, BoxError
        If a folder holds no image or cannot be listed, or a run or a file of boxes cannot be read.

    Notes
    -----
    Two files belong together if their paths below their folders agree but for the suffix. A mask of a run
    also belongs to the truth of its image's name, with or without suffix, in the mask's folder. Of a name in
    an archive, what follows the archive may be the truth's, too.
    """
    if is_run(truth):
        raise MatchError(
            f"{truth}: is a run, and no truth; masks come first: iem-xp evaluate {truth} {predicted}"
            if not is_run(predicted)
            else f"{truth}: is a run, and no truth; to compare two runs, give its folder {truth / MASKS}"
        )
    left_out: Counter[str] = Counter()
    boxes = truth.suffix.lower() == ".csv"
    if is_run(predicted):
        if fit is not None or size is not None:
            raise MatchError(f"{predicted}: a run knows itself what its masks show; leave out fit and size")
        found = _found_in_run(predicted)
    else:
        runs = sorted(filter(is_run, predicted.glob("*/")))
        if runs:
            raise MatchError(f"{predicted}: holds several runs; give one of them, such as {runs[0]}")
        if size is not None and fit != "crop":
            raise MatchError("size is that of central squares; it needs the fit crop")
        if boxes and fit == "crop":
            raise MatchError(f"{predicted}: boxes of crops need the images' own sizes, which a run knows")
        masks = [Prediction(name, file) for name, file in _list_images(predicted, left_out)]
        found = _Found(masks, (128 if size is None else size) if fit == "crop" else None, [])
    known: Mapping[str, str | Box] = read_boxes(truth) if boxes else _list_truths(truth, left_out)
    owned, extra = _assign(found.predictions, known, boxes)
    if not owned:
        raise MatchError(
            f"no mask of {predicted} belongs to a truth of {truth}; they are matched by path below the "
            "folder, without suffix, "
            f"but the masks are {_first(prediction.name for prediction in found.predictions)}, "
            f"and the truths are {_first(known)}"
        )
    causes = _by_name(found.failures)
    return Matching(
        pairs=[Pair(name, owned[name], known[name]) for name in known if name in owned],
        missing={name: _cause(name, causes) for name in known if name not in owned},
        extra=extra,
        boxes=boxes,
        crop=found.crop,
        left_out=left_out,
    )


class _Found(NamedTuple):
    predictions: list[Prediction]
    crop: int | None
    failures: list[Failure]


def _found_in_run(folder: Path) -> _Found:
    with Run.open(folder, to_write=False) as run:
        configuration, failures = run.get_meta("configuration"), run.failures()
        predictions = [_prediction(run, entry) for entry in run.segmented()]
    if not predictions:
        raise MatchError(f"{folder}: no image of this run has a mask, {len(failures)} failed")
    return _Found(predictions, configuration["size"] if configuration["fit"] == "crop" else None, failures)


def _prediction(run: Run, entry: Entry) -> Prediction:
    path, mask, shard = entry.source
    image = PurePosixPath(mask).with_name(path.name)
    return Prediction(_stem(mask), str(run.masks / shard / mask), str(image), (entry.height, entry.width))


def _list_images(folder: Path, left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    """Names of the images below a folder, without suffix, and their files."""
    if not folder.is_dir():
        raise MatchError(f"{folder}: {'not a' if folder.exists() else 'no such'} folder")
    found, others = list_images(folder, SUFFIXES)
    left_out.update(others)
    root = os.path.abspath(folder)
    for path, _, _ in found:
        yield _stem(path.relative_to(root).as_posix()), str(path)


def _list_truths(folder: Path, left_out: Counter[str]) -> dict[str, str]:
    truths: dict[str, str] = {}
    for name, file in _list_images(folder, left_out):
        if name in truths:
            raise MatchError(f"two truths are named {name}: {truths[name]} and {file}")
        truths[name] = file
    return truths


def _assign(
    predictions: Iterable[Prediction], known: Collection[str], suffixed: bool
) -> tuple[dict[str, Prediction], list[str]]:
    """Predictions by the name of their truth, and the names of those that have none."""
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for truth in known if suffixed else ():
        stems[_stem(truth)].append(truth)
    owned: dict[str, Prediction] = {}
    extra: list[str] = []
    for prediction in predictions:
        name = _truth_of(prediction, known, stems, suffixed)
        if name is None:
            extra.append(prediction.name)
        elif name in owned:
            raise MatchError(f"two masks are of {name}: {owned[name].file} and {prediction.file}")
        else:
            owned[name] = prediction
    return owned, extra


def _truth_of(
    prediction: Prediction, known: Collection[str], stems: Mapping[str, list[str]], suffixed: bool
) -> str | None:
    names = [prediction.name]
    if prediction.image is not None:
        # As the truth has suffixes or not: a.jpg may be the image's name, and the mask's of a.jpg.webp.
        names.insert(0 if suffixed else 1, prediction.image)
        names.append(_stem(prediction.image))
    # The truth of images that were packed later may lie as they did.
    names += [inside for name in names if (inside := _inside_archive(name))]
    for name in names:
        if name in known:
            return name
    for name in names:
        fitting = stems.get(name, [])
        if len(fitting) > 1:
            raise MatchError(f"{prediction.file} may be of {fitting[0]} and of {fitting[1]}")
        if fitting:
            return fitting[0]
    return None


def _inside_archive(name: str) -> str | None:
    """Name in an archive, of a path that leads into one: ``b/c`` of ``a.tar/b/c``."""
    parts = name.split("/")
    archives = [i for i, part in enumerate(parts[:-1]) if is_archive(part)]
    return "/".join(parts[archives[-1] + 1 :]) if archives else None


def _by_name(failures: Iterable[Failure]) -> dict[str, list[Failure]]:
    """Failures by their images' file names, with and without suffix."""
    named: defaultdict[str, list[Failure]] = defaultdict(list)
    for failure in failures:
        for name in {failure.path.name, failure.path.stem}:
            named[name].append(failure)
    return named


def _cause(name: str, failures: Mapping[str, list[Failure]]) -> str | None:
    """Why the image of a truth failed, if there is just one failure that it can be."""
    fitting = []
    for path, error in failures.get(PurePosixPath(name).name, ()):
        image = path.as_posix()
        if any(known.endswith(f"/{name}") for known in (image, _stem(image))):
            fitting.append(error)
    return fitting[0] if len(fitting) == 1 else None


def _first(names: Iterable[str]) -> str:
    listed = list(islice(names, 4))
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
