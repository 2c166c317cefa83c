from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from iem_xp.config import IEMConfig
from iem_xp.edges import refine_edges
from iem_xp.images import ImageError, Mask, Pixels, read_again, read_stamped, restore_mask
from iem_xp.rendering import cutout
from iem_xp.runs import writing
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry, Output
from iem_xp.runs.settings import Settings
from iem_xp.runs.writing import Writer

CONFIG = IEMConfig(iterations=2)
MASK = np.zeros((16, 20), bool)
MASK[4:12, 5:14] = True


class Kept:
    """A store that keeps in memory what is put in it."""

    def put(self, source: Source, made: Mapping[str, bytes]) -> Source:
        self.made = dict(made)
        return source

    def picture(self, folder: str) -> Pixels:
        return np.asarray(iio.imread(BytesIO(self.made[folder])))


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """A photograph of 100 x 80 pixels, of a rectangle that is a little off the mask's."""
    image = np.full((80, 100, 3), (40, 90, 160), np.uint8)
    image[22:62, 27:71] = (200, 60, 40)
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    return Entry(Source(path, "image.png"), 100, 80, 0.0, None, read_stamped(path)[1])


def write(
    entry: Entry, settings: Settings, outputs: tuple[Output, ...] = (), mask: Mask = MASK
) -> tuple[Kept, float]:
    store: Any = Kept()
    share = Writer(store, settings, outputs).write(entry, Candidate(56, mask, 1.0, 2)).share
    return store, share


@pytest.mark.parametrize("edges", ["guided", "iem"])
def test_a_mask_follows_the_edges_of_its_image_and_its_share_is_what_is_written(
    entry: Entry, edges: Any
) -> None:
    store, share = write(entry, Settings(CONFIG, 16, edges=edges))
    written = store.picture("masks") == 255
    pixels = read_stamped(entry.source.path)[0].pixels
    np.testing.assert_array_equal(written, refine_edges(pixels, MASK, edges, CONFIG))
    assert (written != restore_mask(MASK, 80, 100)).any()
    assert share == written.mean()


def test_without_edges_the_image_is_not_looked_at_again(entry: Entry) -> None:
    entry.source.path.unlink()
    store, _ = write(entry, Settings(CONFIG, 16))
    np.testing.assert_array_equal(store.picture("masks") == 255, restore_mask(MASK, 80, 100))


def test_a_crop_s_mask_stays_at_work(entry: Entry) -> None:
    entry.source.path.unlink()
    store, _ = write(entry, Settings(CONFIG, 16, "crop", "guided"), mask=MASK[:, 2:18])
    np.testing.assert_array_equal(store.picture("masks") == 255, MASK[:, 2:18])


def test_the_image_is_read_once_for_mask_and_pictures(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(path: Path, *known: Any) -> Pixels:
        reads.append(path)
        return read_again(path, *known)

    monkeypatch.setattr(writing, "read_again", counted)
    store, _ = write(entry, Settings(CONFIG, 16, edges="guided"), ("cutout", "overlay", "inpainted"))
    assert len(reads) == 1
    assert set(store.made) == {"masks", "cutouts", "overlays", "inpainted"}
    written = store.picture("masks") == 255
    pixels = read_stamped(entry.source.path)[0].pixels
    np.testing.assert_array_equal(store.picture("cutouts"), cutout(pixels, written))


def test_an_image_that_has_gone_gets_no_mask(entry: Entry) -> None:
    entry.source.path.unlink()
    with pytest.raises(ImageError, match=r"image\.png: No such file"):
        write(entry, Settings(CONFIG, 16, edges="guided"))


@pytest.mark.parametrize("size", [(100, 80), (80, 100)])
@pytest.mark.parametrize("known", [True, False])
def test_an_image_that_has_changed_gets_no_mask(entry: Entry, size: tuple[int, int], known: bool) -> None:
    Image.new("RGB", size).save(entry.source.path)
    if not known:
        entry = entry._replace(stamp=None)
    settings = Settings(CONFIG, 16, edges="guided")
    if size == (100, 80) and not known:  # nobody can tell
        write(entry, settings)
        return
    with pytest.raises(ImageError, match=r"image\.png: has changed since it was segmented"):
        write(entry, settings)
