"""Runs to report on, made without a search, and what a report's page says of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import scenes
from iem_xp.config import IEMConfig
from iem_xp.images import Mask, encode_mask, encode_png, read_stamped, write_atomically
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run

SETTINGS = Settings(replace(IEMConfig.preset("best"), init_sides=(44, 78)), size=16)
HEIGHT, WIDTH = 24, 20


def square(side: int = 10) -> Mask:
    """A mask of the made images."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[4 : 4 + side, 4 : 4 + side] = True
    return mask


def make_run(
    folder: Path,
    names: Iterable[str],
    *,
    failed: Iterable[str] = (),
    settings: Settings = SETTINGS,
    photos: Path | None = None,
    masks: dict[str, Mask] | None = None,
) -> Path:
    """A run of images of these names in `photos`, in order from the best; masks are squares if not given."""
    rng = np.random.default_rng(0)
    photos = photos or folder.parent / "photos"
    with Run.create(folder, settings.as_dict(), {"versions": {"iem-xp": "0"}}) as run:
        for i, name in enumerate(names):
            path = photos / name
            if not path.exists():
                write_atomically(path, encode_png(scenes.image(rng, HEIGHT, WIDTH)))
            photograph, stamp = read_stamped(path)
            height, width = photograph.pixels.shape[:2]
            mask = (masks or {}).get(name, square())
            source = Source(path, f"{i}.png")
            write_atomically(run.masks / source.mask, encode_mask(mask))
            entry = Entry(source, width, height, 0.1, "alpha ignored" if i == 1 else None, stamp)
            # Information falls, the inpainting error rises.
            candidate = Candidate((44, 78)[i % 2], mask, 0.5 + i / 100, 5, 1 - i / 100)
            run.record_done(entry, candidate, float(mask.mean()))
        for name in failed:
            run.record_failed(Source(photos / name, f"{name}.png"), f"{photos / name}: not an image")
    return folder


def data_of(page: Path) -> dict[str, Any]:
    """The data of a page, with its rows as dictionaries."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    data: dict[str, Any] = json.loads(text)
    columns = data["rows"]
    data["rows"] = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return data


def panels_of(strip: bytes, count: int) -> list[np.ndarray]:
    """The panels of a strip: uint8 (h, w, 3) each."""
    return np.split(np.asarray(Image.open(BytesIO(strip)).convert("RGB")), count, axis=1)
