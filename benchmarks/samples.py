"""The picture at the top of the README: the sample photographs, their masks, and what these cut out.

``python benchmarks/samples.py docs/figures/samples.png`` draws it, with the best preset.
"""

from __future__ import annotations

import sys

from common import SAMPLES
from PIL import Image

from iem_xp.images import read_image
from iem_xp.rendering import contact_sheet, cutout, overlay
from iem_xp.runs.settings import PRESETS
from iem_xp.segmentation import segment

SHOWN = ("flower", "cameraman", "cat", "tissue", "coffee", "cell")
CELL = 150

if __name__ == "__main__":
    settings = PRESETS["best"]
    photographs = [read_image(SAMPLES / f"{name}.jpg").pixels for name in SHOWN]
    found = [segment(settings.at_work(image), settings.config).masks[0] for image in photographs]
    masks = [settings.along_edges(mask, image) for mask, image in zip(found, photographs, strict=True)]
    pairs = list(zip(photographs, masks, strict=True))
    rows = [photographs, [overlay(*pair) for pair in pairs], [cutout(*pair) for pair in pairs]]
    sheet = Image.fromarray(contact_sheet([""] * len(SHOWN), rows, CELL))
    sheet.crop((0, 28, *sheet.size)).quantize(256).save(sys.argv[1], optimize=True)
