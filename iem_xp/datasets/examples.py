"""What a data set gives: images with what is known of them, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from iem_xp.boxes import Box
from iem_xp.images import ImageError, Pixels, read_image, write_atomically
from iem_xp.labels import Labels


class DatasetError(ValueError):
    """A data set cannot be read as asked; the message says what is missing, and where to get it."""


@dataclass(frozen=True)
class Example:
    """An image of a data set, and what people found in it.

    Attributes
    ----------
    name : str
        Unique in its data set: a path without suffix, with forward slashes.
    file : Path or callable
        The image's file or, if it has none of its own, what gives its contents as bytes.
    read_truth : callable, optional
        Reads its labels.
    box : Box, optional
        Where its subject is, in pixels of the image.
    """

    name: str
    file: Path | Callable[[], bytes]
    read_truth: Callable[[], Labels] | None = None
    box: Box | None = None

    @property
    def image(self) -> Pixels:
        """The image, uint8 (H, W, 3), read anew each time; an ImageError names it if that fails."""
        if isinstance(self.file, Path):
            return read_image(self.file).pixels
        try:
            return read_image(self.file()).pixels
        except ImageError as error:
            raise ImageError(f"{self.name}: {error}") from error

    @property
    def truth(self) -> Labels | None:
        """Labels, uint8 (H, W) of 0, 128 (ignored) and 255, read anew each time; None if there are none.

        An ImageError names their file if that fails.
        """
        return None if self.read_truth is None else self.read_truth()

    def unpack(self, folder: Path) -> Path:
        """Return the image's file; one of no file of its own is written below `folder`, unless it is there.

        Its name gets the suffix that its contents call for. An ImageError says so if there are none.
        """
        if isinstance(self.file, Path):
            return self.file
        contents = self.file()
        file = folder / f"{self.name}{_suffix(contents)}"
        if not file.exists():
            write_atomically(file, contents)
        return file


@dataclass(frozen=True)
class Dataset:
    """Examples of a data set in a fixed order; iterating reads none of them.

    Attributes
    ----------
    title : str
        What it is, as "Oxford 102 Flowers, test".
    examples : sequence of Example
    notes : tuple of str
        What the user should know of it, as that its split is not the paper's.
    """

    title: str
    examples: Sequence[Example]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)


def _suffix(contents: bytes) -> str:
    if contents[8:12] == b"WEBP":
        return ".webp"
    return ".png" if contents.startswith(b"\x89PNG") else ".jpg"
