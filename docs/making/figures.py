"""The figures of the pages, drawn from the samples of the project and from freely licensed images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import resources
from io import BytesIO
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import iem_xp
from iem_xp.baselines import grabcut
from iem_xp.images import Mask, Pixels, encode_png, fit_image, read_image
from iem_xp.rendering import contact_sheet, inpainted, overlay
from iem_xp.reproduction.figures import shrunk_and_grown

PAPER, BEST = iem_xp.IEMConfig(), iem_xp.IEMConfig.preset("best")
SQUARE = 78
"""Side of the square that the figures of the search start from."""


@cache
def sample(name: str) -> Pixels:
    """A sample photograph's central square, 128 x 128."""
    file = resources.files("iem_xp_cli") / "samples" / f"{name}.jpg"
    return fit_image(read_image(file.read_bytes()).pixels, 128, "crop")


def search(image: Pixels, updates: int, side: int = SQUARE) -> Mask:
    """The mask of the paper's search after so many updates from one square."""
    start = iem_xp.centred_square(image, side)
    if updates == 0:
        return start[0]
    config = replace(PAPER, iterations=updates)
    return iem_xp.segment(image, config, init=start, engine="array").masks[0]


def best(image: Pixels) -> Mask:
    """The mask of the best preset."""
    return iem_xp.segment(image, BEST, engine="array").masks[0]


def grey(values: NDArray[np.floating], limit: float) -> Pixels:
    """Values from 0 to `limit` as a grey picture."""
    return np.uint8(255 * np.clip(values / limit, 0, 1))


def signed(values: NDArray[np.floating], limit: float) -> Pixels:
    """Positive values in magenta, negative ones in green, 0 in white."""
    share = np.clip(values / limit, -1, 1)[..., None]
    colour = np.where(share > 0, (200, 0, 160), (0, 130, 60))
    return np.uint8(255 + (colour - 255.0) * abs(share))


def black_and_white(mask: Mask) -> Pixels:
    """A mask as a picture."""
    return np.uint8(255) * mask


def inpainting() -> bytes:
    """An image, its mask, what each side predicts, the error of it, and the gradient."""
    rows = []
    for name in ("flower", "cat"):
        image = sample(name)
        mask = search(image, 3)
        error = abs(iem_xp.inpaint(image, mask)[0] - image / 255).mean(axis=-1)
        (gradient,) = iem_xp.objective(image, mask)[1]
        size = np.quantile(abs(gradient), 0.99)
        pictures = (
            black_and_white(mask),
            inpainted(image, mask, PAPER),
            grey(error, 0.5),
            signed(gradient, size),
        )
        rows.append([image, *pictures])
    return encode_png(contact_sheet(["image X", "mask M", "predicted", "error", "gradient"], rows, 200))


def shrunk_and_grown_masks() -> bytes:
    """The error of a good mask, and of the same mask shrunk and grown, as figure 3 of the paper."""
    sheets = []
    for name in ("flower", "cameraman"):
        image = sample(name)
        masks = dict(zip(("mask", "shrunk", "grown"), shrunk_and_grown(best(image)).values(), strict=True))
        errors = iem_xp.inpainting_error(np.stack([image] * 3), np.stack([*masks.values()]))
        titles = [f"{name}: {error:.3f}" for name, error in zip(masks, errors, strict=True)]
        predicted = [inpainted(image, mask, PAPER) for mask in masks.values()]
        rows = [
            [image, *map(black_and_white, masks.values())],
            [overlay(image, masks["mask"]), *predicted],
        ]
        sheets.append(contact_sheet(["image", *titles], rows, 200))
    return encode_png(np.vstack(sheets))


def evolution() -> bytes:
    """Masks over the updates of the paper's search."""
    steps = (0, 1, 2, 4, 8, 16, 32, 150)
    rows = [
        [overlay(sample(name), search(sample(name), step)) for step in steps]
        for name in ("flower", "cat", "cameraman")
    ]
    return encode_png(contact_sheet([str(step) for step in steps], rows, 150))


def curve() -> bytes:
    """Inpainting error and objective over the updates, means of three samples."""
    images = np.stack([sample(name) for name in ("flower", "cat", "cameraman")])
    figure = Figure(figsize=(7, 3.4), dpi=150, layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    steps = (0, 2, 5, 10, 15, 20, 30, 40, 60, 80, 110, 150)
    for side in PAPER.init_sides:
        masks = iem_xp.centred_square(images, side)
        errors, values = [], []
        for before, step in pairwise([0, *steps]):
            if step > before:
                config = replace(PAPER, iterations=step - before)
                masks = iem_xp.segment(images, config, init=masks, engine="array").masks
            errors.append(iem_xp.inpainting_error(images, masks).mean())
            values.append(iem_xp.objective(images, masks)[0].mean())
        for axis, means in zip(axes, (errors, values), strict=True):
            axis.plot(steps, means, label=f"from a square of {side}")
    axes[0].set(xlabel="updates", ylabel="$L_{inp}$")
    axes[1].set(xlabel="updates", ylabel="$L_{IEM}$")
    axes[1].legend()
    file = BytesIO()
    figure.savefig(file)
    return file.getvalue()


def squares() -> bytes:
    """Masks from three squares, with their inpainting errors, and the mask of the best preset."""
    rows = []
    for name in ("flower", "coffee", "cat"):
        image = sample(name)
        masks = [search(image, 150, side) for side in PAPER.init_sides]
        rows.append([image, *(overlay(image, mask) for mask in (*masks, best(image)))])
    titles = ["image", *(f"from {side}" for side in PAPER.init_sides), "best preset"]
    return encode_png(contact_sheet(titles, rows, 200))


def cut() -> bytes:
    """Masks of the best preset without the cut and with it."""
    rows = []
    for name in ("cat", "cameraman"):
        image = sample(name)
        uncut = iem_xp.segment(image, replace(BEST, cut=False), engine="array").masks[0]
        rows.append([image, overlay(image, uncut), overlay(image, best(image))])
    return encode_png(contact_sheet(["image", "without the cut", "with it"], rows, 240))


def compared(images: list[Pixels]) -> bytes:
    """Masks of both presets and of GrabCut, on whole images."""
    rows = []
    for image in images:
        small = fit_image(image, 128, "whole")
        box = iem_xp.centred_square(small, 112)[0]
        paper = iem_xp.segment(small, replace(PAPER, choose="image"), engine="array").masks[0]
        masks = paper, best(small), grabcut(small, box)
        rows.append([small, *(overlay(small, mask) for mask in masks)])
    return encode_png(contact_sheet(["image", "paper", "best", "GrabCut"], rows, 200))


def off_centre() -> bytes:
    """A cell, and a flower that is cut so that it lies at the side."""
    import skimage as ski
    from sklearn.datasets import load_sample_image

    return compared([_in_colour(ski.data.cell()), load_sample_image("flower.jpg")[:, 310:]])


def several() -> bytes:
    """Coins, galaxies and tissue: many subjects."""
    import skimage as ski

    return compared(
        [_in_colour(ski.data.coins()), ski.data.hubble_deep_field(), ski.data.immunohistochemistry()]
    )


def colours() -> bytes:
    """Subjects of several colours, of which some are the ground's, or of no colours of their own."""
    import skimage as ski
    from sklearn.datasets import load_sample_image

    return compared([ski.data.coffee(), ski.data.astronaut(), load_sample_image("china.jpg")])


def thin_or_none() -> bytes:
    """A thin subject, and a texture without one."""
    import skimage as ski

    return compared([ski.data.rocket(), _in_colour(ski.data.brick())])


def _in_colour(grey: Pixels) -> Pixels:
    return np.dstack([grey] * 3)


FIGURES: dict[str, Callable[[], bytes]] = {
    "inpainting": inpainting,
    "shrunk-and-grown": shrunk_and_grown_masks,
    "evolution": evolution,
    "curve": curve,
    "squares": squares,
    "cut": cut,
    "off-centre": off_centre,
    "several": several,
    "colours": colours,
    "thin-or-none": thin_or_none,
}
"""What draws a figure, as a PNG file, by the name that pages have for it."""
