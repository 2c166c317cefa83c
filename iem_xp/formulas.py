"""The paper's formulas for images and masks as users have them: inpainting, objective, one update."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from iem_xp import solver, terms
from iem_xp.arrays import Array, exactly
from iem_xp.config import IEMConfig, config_or_default, whole_number
from iem_xp.layout import check_images, check_masks, to_colours, to_images
from iem_xp.threads import few_threads


def inpaint(images: Array, masks: Array, config: IEMConfig | None = None) -> Array:
    """Every pixel replaced by its prediction from the other side of its mask (eq. 7, figure 4).

    Parameters
    ----------
    images : array (N, H, W, C), (H, W, C) or (H, W)
        uint8 in [0, 255] or floating in [0, 1].
    masks : array (N, H, W) or (H, W)
        bool, or integers with foreground non-zero.
    config : IEMConfig, optional

    Returns
    -------
    floating array (N, H, W, C)
        In [0, 1], in the channels of the images whatever `colour_space`; float64 for float64 images, float32
        otherwise. Where a region is empty, the other one is predicted as mid-grey.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    with exactly(images):
        images = check_images(images)
        scene = terms.Scene.of(to_colours(images, _precision(images)), config_or_default(config))
        sums = terms.add_up(scene, check_masks(masks, images))
        predicted, _ = terms.predict(scene, sums)
        return to_images(terms.own(predicted, sums.masks))


def inpainting_error(images: Array, masks: Array, config: IEMConfig | None = None) -> Array:
    """L_inp = E_F + E_B (eq. 8): the mean error of predicting each side from the other, summed.

    Parameters and errors as for `inpaint`.

    Returns
    -------
    floating array (N,)
        In units of colours scaled to [-1, 1], or of CIELAB / 50; 0 where a region is empty.
    """
    with exactly(images):
        scene, sums = _add_up(images, masks, config)
        return terms.inpainting_error(sums, terms.inpaint(scene, sums))


def objective(images: Array, masks: Array, config: IEMConfig | None = None) -> tuple[Array, Array]:
    """L_IEM = L_inp - lambda (sigma(M) + sigma(M')) (eq. 11) and its analytic gradient.

    With a `colour_weight`, that times Lambda(M) of `iem_xp.marginals` is added.

    Parameters and errors as for `inpaint`.

    Returns
    -------
    value : floating array (N,)
    gradient : floating array (N, H, W)
        dL_IEM/dM at the binary masks, M treated as real-valued; 0 where a region is empty.
    """
    with exactly(images):
        scene, sums = _add_up(images, masks, config)
        inpainting = terms.inpaint(scene, sums)
        return terms.objective(scene, sums, inpainting), terms.gradient(scene, sums, inpainting)


def centred_square(images: Array, side: int) -> Array:
    """Initial masks, those that `segment` starts from: a centred square in each image (section 4.2).

    Parameters
    ----------
    images : array (N, H, W, C), (H, W, C) or (H, W)
        Only their shape, library and device count.
    side : int
        In pixels at a shorter image side of 128, >= 1; it scales with the image, as `IEMConfig.init_sides`.

    Returns
    -------
    bool array (N, H, W)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    with exactly(images):
        return solver.centred_square(check_images(images), whole_number("side", side, 1))


def update(images: Array, masks: Array, config: IEMConfig | None = None) -> Array:
    """One update of the search (eq. 10): the gradient's sign at the masks' boundary, then smoothing.

    ``config.iterations`` updates from a `centred_square` give the masks that `segment` finds from it, which
    prepares the images only once and so is faster. But here all shapes are known beforehand, so that a
    search can be compiled (``jax.jit``). It computes in float32, whatever the images are.

    Parameters and errors as for `inpaint`.

    Returns
    -------
    bool array (N, H, W)
    """
    with exactly(images), few_threads(images):
        images = check_images(images)
        scene = terms.Scene.of_images(images, config_or_default(config))
        return solver.update(scene, check_masks(masks, images))


def _add_up(images: Array, masks: Array, config: IEMConfig | None) -> tuple[terms.Scene, terms.Sums]:
    images = check_images(images)
    masks = check_masks(masks, images)
    scene = terms.Scene.of_images(images, config_or_default(config), dtype=_precision(images))
    return scene, terms.add_up(scene, masks)


def _precision(images: Array) -> Any:
    """Data type to compute in: float64 for float64 images, float32 otherwise."""
    xp = array_namespace(images)
    return xp.float64 if xp.isdtype(images.dtype, xp.float64) else xp.float32
