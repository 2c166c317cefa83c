"""Inpainting error, diversity, and their analytic gradient (eq. 7, 8, 11).

Everything here works on a `Scene`: images as planes of shape (N, C + 1, H, W), the last plane all ones, so
that one call of the filter gives K*(X R) and K*R together. Arrays that hold a value for each region have a
second axis of length 2, in the order of the region that is *predicted*: 0 is the foreground, predicted from
M' = 1 - M; 1 is the background, predicted from M.
"""

from __future__ import annotations

from typing import NamedTuple

from array_api_compat import array_namespace, device

from iem_xp.arrays import Array
from iem_xp.config import IEMConfig
from iem_xp.gaussian import Gaussian


class Scene(NamedTuple):
    """A batch of images, ready for any mask: planes (N, C + 1, H, W), the filter K* and its settings."""

    planes: Array
    K: Gaussian
    config: IEMConfig

    @classmethod
    def of(cls, colours: Array, config: IEMConfig, K: Gaussian | None = None) -> Scene:
        """Scene of `colours`, a floating array (N, C, H, W) in [-1, 1]; K, if it is there already."""
        xp = array_namespace(colours)
        n, _, h, w = colours.shape
        ones = xp.ones((n, 1, h, w), dtype=colours.dtype, device=device(colours))
        return cls(xp.concat([colours, ones], axis=1), K or Gaussian(colours, config), config)

    def take(self, index: Array) -> Scene:
        """Scene of the images at the positions `index`, an integer array (n,)."""
        xp = array_namespace(self.planes)
        return self._replace(planes=xp.take(self.planes, index, axis=0))


class Inpainting(NamedTuple):
    """What one mask makes of a scene; regions in the order of the module's docstring.

    `region` (N, 2, H, W): M and M' as numbers.
    `over_size` (N, 2, 1, 1): 1 / |M| and 1 / |M'|; 0 for both where one is empty, so that nothing counts.
    `mean` (N, 2, C, 1, 1): mean colour of each region.
    `over_support` (N, 2, 1, H, W): 1 / (K*R + eps sum(R)), R the other region.
    `residual` (N, 2, C, H, W): X - psi_K(R).
    `error` (N, 2, H, W): mean over the channels of |X - psi_K(R)|.
    """

    region: Array
    over_size: Array
    mean: Array
    over_support: Array
    residual: Array
    error: Array


def inpaint(scene: Scene, masks: Array) -> Inpainting:
    """Predict each region from the other (eq. 7).

    An empty region has the mean colour 0, mid-grey, and so predicts mid-grey; the objective counts no
    error against it.

    Parameters
    ----------
    scene : Scene
    masks : bool array (N, H, W)
    """
    xp = array_namespace(scene.planes, masks)
    planes = scene.planes
    n, depth, h, w = planes.shape
    M = xp.astype(masks, planes.dtype)[:, None, :, :]
    region = xp.concat([M, 1 - M], axis=1)
    total = xp.reshape(region, (n, 2, h * w)) @ xp.matrix_transpose(xp.reshape(planes, (n, depth, h * w)))
    total = total[..., None, None]
    size = total[:, :, -1, ...]
    empty = xp.astype(size == 0, planes.dtype)

    other = xp.flip(region, axis=1)[:, :, None, ...]
    filtered = scene.K(planes[:, None, ...] * other)
    filtered += scene.config.epsilon * xp.flip(total, axis=1)
    over_support = 1 / (filtered[:, :, -1:, ...] + xp.flip(empty, axis=1)[:, :, None, ...])
    residual = planes[:, None, :-1, ...] - filtered[:, :, :-1, ...] * over_support
    return Inpainting(
        region=region,
        over_size=(1 - xp.max(empty, axis=1, keepdims=True)) / (size + empty),
        mean=total[:, :, :-1, ...] / (size + empty)[:, :, None, ...],
        over_support=over_support,
        residual=residual,
        error=xp.sum(xp.abs(residual), axis=2) / residual.shape[2],
    )


def regional_errors(inpainting: Inpainting) -> Array:
    """E_F and E_B (eq. 8), shape (N, 2, 1, 1); 0 for both where a region is empty."""
    xp = array_namespace(inpainting.error)
    n, _, h, w = inpainting.error.shape
    by_pixel = (n, 2, h * w)
    total = xp.vecdot(xp.reshape(inpainting.region, by_pixel), xp.reshape(inpainting.error, by_pixel))
    return total[..., None, None] * inpainting.over_size


def inpainting_error(inpainting: Inpainting) -> Array:
    """L_inp = E_F + E_B (eq. 8), shape (N,)."""
    xp = array_namespace(inpainting.error)
    return xp.sum(regional_errors(inpainting), axis=(1, 2, 3))


def objective(scene: Scene, inpainting: Inpainting) -> Array:
    """L_IEM = L_inp - lambda (sigma(M) + sigma(M')) (eq. 11), shape (N,)."""
    return inpainting_error(inpainting) - scene.config.regularization * diversity(scene, inpainting)


def diversity(scene: Scene, inpainting: Inpainting) -> Array:
    """sigma(M) + sigma(M'), the squared distances of all pixels to their region's mean (eq. 11): (N,)."""
    xp = array_namespace(scene.planes)
    mean = own(inpainting.mean, inpainting.region)
    return xp.sum((scene.planes[:, :-1, ...] - mean) ** 2, axis=(1, 2, 3))


def gradient(scene: Scene, inpainting: Inpainting) -> Array:
    """dL_IEM/dM with M treated as real-valued, shape (N, H, W); 0 where a region is empty.

    It has three parts at a pixel q:

    - directly, and through the normalisers: ``(e_F(q) - E_F) / |M| - (e_B(q) - E_B) / |M'|``;
    - through the predictions psi = N / S, N = K*(X R) + eps sum(X R), S = K*R + eps sum(R), by the adjoint
      of K*: of |X_p - N_p / S_p| the derivatives by N_p and S_p are -sign / S_p and sign psi_p / S_p. Only
      the error of a pixel's own region counts, so both regions share one set of planes;
    - of the diversity, ``|X_q - mu(M)|^2 - |X_q - mu(M')|^2``, the means being at their optimum. The square
      of X_q cancels: what is left is linear in the planes, as the eps term's part is, and joins it.
    """
    xp = array_namespace(scene.planes)
    epsilon, regularization = scene.config.epsilon, scene.config.regularization
    colours = scene.planes[:, :-1, ...]
    over_size, region = inpainting.over_size, inpainting.region

    signed = xp.concat([over_size[:, :1, ...], -over_size[:, 1:, ...]], axis=1)[:, :, None, ...]
    residual = own(inpainting.residual, region)
    by_colour = xp.sign(residual)
    by_colour *= own(inpainting.over_support * (signed / colours.shape[1]), region)
    residual -= colours  # -psi
    by_size = xp.sum(by_colour * residual, axis=1, keepdims=True)
    by_planes = xp.concat([by_colour, by_size], axis=1)

    mean_f, mean_b = inpainting.mean[:, 0, ...], inpainting.mean[:, 1, ...]
    squares = xp.sum(mean_f**2 - mean_b**2, axis=1, keepdims=True)
    constants = xp.concat([2 * (mean_f - mean_b), -squares], axis=1)
    constants *= regularization * xp.astype(over_size[:, :1, ...] > 0, constants.dtype)
    constants += epsilon * xp.sum(by_planes, axis=(-2, -1), keepdims=True)
    through_filter = scene.K.adjoint(by_planes)
    through_filter += constants
    through_filter *= scene.planes
    direct = (inpainting.error - regional_errors(inpainting)) * over_size
    return xp.sum(through_filter, axis=1) + (direct[:, 0, ...] - direct[:, 1, ...])


def own(values: Array, region: Array) -> Array:
    """Of `values` (N, 2, P, H, W), at each pixel those of its own region: (N, P, H, W)."""
    return values[:, 0, ...] * region[:, :1, ...] + values[:, 1, ...] * region[:, 1:, ...]
