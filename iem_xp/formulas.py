"""The paper's formulas for images and masks as users have them: inpainting, its error, the objective."""

from __future__ import annotations

from array_api_compat import array_namespace

from iem_xp import terms
from iem_xp.arrays import Array, exactly
from iem_xp.config import IEMConfig, config_or_default
from iem_xp.layout import check_images, check_masks, to_colours, to_images


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
        In [0, 1]; float64 for float64 images, float32 otherwise. Where a region is empty, the other one is
        predicted as mid-grey.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    with exactly(images):
        scene, sums = _add_up(images, masks, config)
        predicted, _ = terms.predict(scene, sums)
        return to_images(terms.own(predicted, sums.masks))


def inpainting_error(images: Array, masks: Array, config: IEMConfig | None = None) -> Array:
    """L_inp = E_F + E_B (eq. 8): the mean error of predicting each side from the other, summed.

    Parameters and errors as for `inpaint`.

    Returns
    -------
    floating array (N,)
        In units of colours scaled to [-1, 1]; 0 where a region is empty.
    """
    with exactly(images):
        scene, sums = _add_up(images, masks, config)
        return terms.inpainting_error(sums, terms.inpaint(scene, sums))


def objective(images: Array, masks: Array, config: IEMConfig | None = None) -> tuple[Array, Array]:
    """L_IEM = L_inp - lambda (sigma(M) + sigma(M')) (eq. 11) and its analytic gradient.

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


def _add_up(images: Array, masks: Array, config: IEMConfig | None) -> tuple[terms.Scene, terms.Sums]:
    images = check_images(images)
    masks = check_masks(masks, images)
    xp = array_namespace(images)
    dtype = xp.float64 if images.dtype == xp.float64 else xp.float32
    scene = terms.Scene.of(to_colours(images, dtype), config_or_default(config))
    return scene, terms.add_up(scene, masks)
