"""Small made-up copies of data sets, laid out as their downloads are, of the sample photographs.

With `truncated` the first image of the test is cut off in the middle, with `missing_mask` the last one's mask
is not there; of the 10 tested images that are made by default both are few enough to fail alone.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image
from scipy.io import savemat

SAMPLES = sorted((Path(__file__).parents[1] / "cli" / "iem_xp_cli" / "samples").glob("*.jpg"))
WIDTH, HEIGHT = 80, 64

FLOWER, BACKGROUND, UNLABELLED = 1, 3, 0
"""Indices of the palette of a trimap."""

BIRDS = "001.Black_footed_Albatross", "002.Laysan_Albatross"


def photograph(number):
    """One of the samples, mirrored now and then, so that neighbours differ."""
    image = Image.open(SAMPLES[number % len(SAMPLES)]).convert("RGB").resize((WIDTH, HEIGHT))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number // len(SAMPLES) % 2 else image


def subject(number):
    """An ellipse, bool (HEIGHT, WIDTH), which wanders with the number."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return ((rows - 32) / 20) ** 2 + ((columns - 36 - number % 8) / 24) ** 2 < 1


def encoded(image, format="JPEG", **options):
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def mask(number, foreground=255):
    return encoded(Image.fromarray(np.where(subject(number), np.uint8(foreground), np.uint8(0))), "PNG")


def segmim(number):
    """The flower on blue; PNG contents, since JPEG might change the blue."""
    pixels = np.asarray(photograph(number)).clip(1, 253)
    on_blue = np.where(subject(number)[..., None], pixels, np.array([0, 0, 254], np.uint8))
    return encoded(Image.fromarray(on_blue), "PNG")


def trimap(number):
    """Palette PNG: a flower, a band that is not labelled, and the background."""
    indices = np.where(subject(number), np.uint8(FLOWER), np.uint8(BACKGROUND))
    indices[:, 34:36] = UNLABELLED
    image = Image.fromarray(indices)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return encoded(image, "PNG")


def box(number):
    """x, y, width, height of the subject."""
    rows, columns = (np.flatnonzero(subject(number).any(axis)) for axis in (1, 0))
    return columns[0], rows[0], len(columns), len(rows)


def write(file, contents):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(contents)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def make_flowers102(root, n=20, *, truncated=False, missing_mask=False):
    """Oxford 102 Flowers of n images: the first half tested, a quarter each to validate and to train."""
    numbers = np.arange(1, n + 1, dtype=np.uint16)
    for number in numbers:
        write(root / "jpg" / f"image_{number:05d}.jpg", encoded(photograph(number)))
        write(root / "segmim" / f"segmim_{number:05d}.jpg", segmim(number))
    test, rest = numbers[: n // 2], numbers[n // 2 :]
    valid, training = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    savemat(root / "setid.mat", {"trnid": test, "valid": valid, "tstid": training})
    if truncated:
        cut(root / "jpg" / f"image_{test[0]:05d}.jpg")
    if missing_mask:
        (root / "segmim" / f"segmim_{test[-1]:05d}.jpg").unlink()
    return root


def make_flowers17(root, n=10, *, imlist=True, truncated=False, missing_mask=False):
    """Oxford 17 Flowers of 2n images, those of even number with a trimap."""
    numbers = range(2, 2 * n + 1, 2)
    for number in range(1, 2 * n + 1):
        write(root / "jpg" / f"image_{number:04d}.jpg", encoded(photograph(number)))
    for number in numbers:
        write(root / "trimaps" / f"image_{number:04d}.png", trimap(number))
    if imlist:
        savemat(root / "trimaps" / "imlist.mat", {"imlist": np.array(numbers, np.uint16)})
    if truncated:
        cut(root / "jpg" / f"image_{numbers[0]:04d}.jpg")
    if missing_mask:
        (root / "trimaps" / f"image_{numbers[-1]:04d}.png").unlink()
    return root


def bird(number):
    """Path of an image of CUB without suffix."""
    return f"{BIRDS[number % 2]}/{BIRDS[number % 2][4:]}_{number:04d}_{number + 7}"


def make_cub(root, n=20, *, masks=True, redo_split=True, gray=False, truncated=False, missing_mask=False):
    """CUB-200-2011 of n images, every second one tested; with `gray` every third is a grey file.

    The official split tests the others. Returns the folder that holds CUB_200_2011 and segmentations.
    """
    base, numbers = root / "CUB_200_2011", range(1, n + 1)
    for number in numbers:
        image = photograph(number)
        grey = gray and number % 3 == 0
        write(base / "images" / f"{bird(number)}.jpg", encoded(image.convert("L") if grey else image))
        if masks:
            write(root / "segmentations" / f"{bird(number)}.png", mask(number, 204))
    write(base / "images.txt", "".join(f"{i} {bird(i)}.jpg\n" for i in numbers).encode())
    boxes = (" ".join(f"{value:.1f}" for value in box(i)) for i in numbers)
    write(base / "bounding_boxes.txt", "".join(f"{i} {b}\n" for i, b in enumerate(boxes, 1)).encode())
    write(base / "train_test_split.txt", "".join(f"{i} {i % 2}\n" for i in numbers).encode())
    tested = numbers[::2]
    if redo_split:
        codes = (2 if i in tested else i % 4 // 2 for i in numbers)
        content = "".join(f"{i} {code}\n" for i, code in enumerate(codes, 1))
        write(base / "train_val_test_split.txt", content.encode())
    if truncated:
        cut(base / "images" / f"{bird(tested[0])}.jpg")
    if missing_mask:
        (root / "segmentations" / f"{bird(tested[-1])}.png").unlink()
    return root


def car_key(number):
    return f"{number * 2654435761 % 2**32:040x}"


def make_lsun_car(root, n=20, *, masks=True, test_file=True, webp=False, truncated=False, missing_mask=False):
    """LSUN Car of n images in the folder `car`, with masks of all; `test_file` tests every second key."""
    base = root / "car"
    numbers = sorted(range(1, n + 1), key=car_key)
    images = {i: encoded(photograph(i), "WEBP" if webp else "JPEG") for i in numbers}
    tested = numbers[::2] if test_file else numbers
    if truncated:
        images[tested[0]] = images[tested[0]][: len(images[tested[0]]) // 2]
    make_lmdb(base, {car_key(i).encode(): image for i, image in images.items()})
    for i in numbers if masks else ():
        write(base / "masks" / f"{car_key(i)}.png", mask(i))
    if test_file:
        write(base / "test.txt", "".join(f"{car_key(i)}\n" for i in tested).encode())
    if missing_mask:
        (base / "masks" / f"{car_key(tested[-1])}.png").unlink()
    return root


def make_lmdb(folder, values):
    """An LMDB environment of values by key, both bytes."""
    folder.mkdir(parents=True)
    with (
        lmdb.open(str(folder), map_size=1 << 28) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key, value)
    (folder / "lock.mdb").unlink()  # it is not in the archive either


def make_folder(root, n=10, *, masks=True, boxes=False, truncated=False, missing_mask=False):
    """A folder of n images, every third in a sub-folder, with masks or boxes or both."""
    names = [f"garden 1/flower {i:02d}" if i % 3 == 2 else f"flower {i:02d}" for i in range(n)]
    for i, name in enumerate(names):
        write(root / "images" / f"{name}.jpg", encoded(photograph(i)))
        if masks:
            write(root / "masks" / f"{name}.png", mask(i))
    if boxes:
        rows = (",".join(map(str, (f"{name}.jpg", *box(i)))) for i, name in enumerate(names))
        write(root / "bounding_boxes.csv", "\n".join(["image,x,y,width,height", *rows, ""]).encode())
    if truncated:
        cut(root / "images" / f"{names[0]}.jpg")
    if missing_mask:
        (root / "masks" / f"{names[-1]}.png").unlink()
    return root
