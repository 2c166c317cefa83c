"""`segment`, the public entry, and the choice among initial squares (section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from iem_xp.arrays import Array, exactly, like
from iem_xp.choice import Ascent, take
from iem_xp.config import IEMConfig, config_or_default
from iem_xp.devices import resolve_device
from iem_xp.engines import EngineOption, solve
from iem_xp.layout import check_images, check_masks
from iem_xp.memory import Batches


@dataclass(frozen=True)
class Segmentation:
    """Masks of a batch of images, all arrays of the library and on the device of the images.

    Attributes
    ----------
    masks : bool array (N, H, W)
        True = foreground.
    inpainting_error : float32 array (N,)
        L_inp of each mask (eq. 8): how badly each side is predicted from the other, >= 0. It ranks the
        masks of a collection, where there is no `information`.
    init_side : int array (N,)
        Side of the initial square that the mask grew from, as named in the configuration; 0 for given
        initial masks.
    updates : int array (N,)
        Updates after which the final mask was known, since it repeats.
    information : float32 array (N,)
        Share of each mask's entropy that the colours explain, in [0, 1] (`iem_xp.marginals`): it ranks masks
        better. 0 where the configuration does not count colours.
    """

    masks: Array
    inpainting_error: Array
    init_side: Array
    updates: Array
    information: Array


def segment(
    images: Array,
    config: IEMConfig | None = None,
    *,
    init: Array | None = None,
    device: str | None = None,
    engine: EngineOption = "auto",
    workers: int | None = None,
) -> Segmentation:
    """Split images into foreground and background by inpainting error maximization.

    Parameters
    ----------
    images : array (N, H, W, C), (H, W, C) or (H, W)
        uint8 in [0, 255] or floating in [0, 1], any number of channels, any size; of any array library with
        the array API. The method's numbers are made for a shorter side of about 128 pixels.
    config : IEMConfig, optional
        The paper's numbers by default.
    init : array (N, H, W) or (H, W), optional
        Masks to start from instead of squares: bool, or integers with foreground non-zero.
    device : {"cpu", "gpu", "gpu:N", "auto"}, optional
        Where to compute. By default where `images` is; the result always is where `images` is.
    engine : {"auto", "array", "fused"}
        "array" is the array-API code that runs everywhere; "fused" is compiled, several times faster, for
        NumPy arrays, with an image to each CPU. "auto" takes the fused engine where it applies and there is,
        or has been, work enough to be worth its start (`iem_xp.engines.Automatic`). Their masks are the same
        but for 1 or 2 of 1,000, which a rounding sends elsewhere.
    workers : int, optional
        Threads of the fused engine; by default, as many as this process may use CPUs.

    Returns
    -------
    Segmentation
        Always with a batch axis: N = 1 for a single image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    EngineError
        If `engine` is "fused", and it cannot run here or for these arguments.
    DeviceError
        If `device` names a GPU that cannot be had.
    MemoryError
        If a single image does not fit into memory.

    Warns
    -----
    RuntimeWarning
        If a batch of images did not fit into memory. It is halved then, and no mask is another one.

    Notes
    -----
    A constant image has no gradient and keeps its initial mask, up to smoothing. Where a mask becomes empty
    or full, its error is 0 and it stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from iem_xp import segment
    >>> image = np.full((64, 64, 3), 40, dtype=np.uint8)
    >>> image[20:44, 16:40] = 220
    >>> segment(image).masks[0, 32, 28]
    np.True_
    """
    config = config_or_default(config)
    if engine not in get_args(EngineOption):
        raise ValueError(f"engine must be one of {', '.join(get_args(EngineOption))}, not {engine!r}")
    where = None if device is None else resolve_device(device)[0]
    with exactly(images):
        checked = check_images(images)
        sides, starts = config.init_sides, config.init_sides
        if init is not None:
            sides, starts = (0,), (check_masks(init, checked, "init"),)
        chosen = choose(solve(checked, starts, config, engine, workers, Batches(where)), sides)
        if where is None:
            return chosen
        return Segmentation(*(like(array, images) for array in vars(chosen).values()))


def choose(ascents: list[Ascent], sides: tuple[int, ...]) -> Segmentation:
    """One mask per image: of each start, that of highest mean inpainting error over all images.

    Parameters
    ----------
    ascents : list of Ascent
        One for each start, of the same images; or one, in which each image has the best of its own.
    sides : tuple of int
        What each start is called. Of equal errors the earlier one wins.
    """
    xp = array_namespace(ascents[0].masks)
    best = xp.zeros_like(ascents[0].start)
    if len(ascents) > 1 and best.shape[0]:
        errors = xp.stack([ascent.inpainting_error for ascent in ascents])
        best = best + xp.argmax(xp.mean(errors, axis=1), axis=0)
    chosen = take(ascents, best)
    named = xp.asarray(sides, dtype=chosen.updates.dtype, device=device_of(best))
    return Segmentation(
        masks=chosen.masks,
        inpainting_error=xp.astype(chosen.inpainting_error, xp.float32),
        init_side=xp.take(named, chosen.start),
        updates=chosen.updates,
        information=xp.astype(chosen.information, xp.float32),
    )
