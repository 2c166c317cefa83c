"""Labels as they are exported for a trainer: bright rectangles on a dark ground."""

import json

import numpy as np


def write_labels(folder, count, size, seed=0):
    """Write a folder of `count` labels of `size` x `size` pixels; its arrays are returned."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), np.uint8)
    for mask in masks:
        top, left = rng.integers(0, size // 2, 2)
        mask[top : top + size // 2, left : left + size // 2] = 1
    images = rng.integers(0, 120, (count, size, size, 3), dtype=np.uint8) + 100 * masks[..., np.newaxis]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    rows = [f"image-{seed}-{i}.png,{1 - i / count}" for i in range(count)]
    (folder / "labels.csv").write_text("\n".join(["path,inpainting_error", *rows]), encoding="utf-8")
    meta = {"format_version": 1, "count": count, "size": size, "fit": "crop"}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return images, masks
