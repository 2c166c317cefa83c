"""Inpainting error, diversity, and their analytic gradient (eq. 7, 8, 11).

Arrays that hold a value for each region have a second axis of length 2, in the order of the region that is
*predicted*: 0 is the foreground, predicted from R = M' = 1 - M; 1 is the background, predicted from R = M.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from array_api_compat import array_namespace

from iem_xp.arrays import Array
from iem_xp.config import IEMConfig
from iem_xp.gaussian import Gaussian
from iem_xp.layout import to_colours, without_constants
from iem_xp.marginals import count, log_likelihood, log_ratio
from iem_xp.palette import Palette, find_palette, to_lab


class Scene(NamedTuple):
    """Images, ready for any mask.

    `colours` X (N, C, H, W), in [-1, 1] or CIELAB. `K`: the filter K*. `config`: the settings. `palette`, if
    they need it. `prior` (N, H, W): log odds of the foreground from elsewhere, which join what colours say.
    """

    colours: Array
    K: Gaussian
    config: IEMConfig
    palette: Palette | None = None
    prior: Array | None = None

    @classmethod
    def of(cls, colours: Array, config: IEMConfig, K: Gaussian | None = None) -> Scene:
        """Scene of floating `colours`; K, if it is there already."""
        return cls(colours, K or Gaussian(colours, config), config)

    @classmethod
    def of_images(
        cls,
        images: Array,
        config: IEMConfig,
        K: Gaussian | None = None,
        prior: Array | None = None,
        dtype: Any = None,
    ) -> Scene:
        """Scene of checked images, all that the configuration needs of them; float32 unless `dtype` says."""
        colours, palette = observe(images, config, dtype)
        return cls.of(colours, config, K)._replace(palette=palette, prior=prior)

    def take(self, index: Array) -> Scene:
        """Scene of the images at the positions `index`, an integer array (n,)."""
        xp = array_namespace(self.colours)
        return self._replace(
            colours=xp.take(self.colours, index, axis=0),
            palette=None if self.palette is None else self.palette.take(index),
            prior=None if self.prior is None else xp.take(self.prior, index, axis=0),
        )


def observe(images: Array, config: IEMConfig, dtype: Any = None) -> tuple[Array, Palette | None]:
    """Colours of checked images as a configuration compares them, and their palette if it needs one.

    Raises
    ------
    ValueError
        If they are to be compared in CIELAB and have other than one channel or three.
    """
    colours = to_colours(images, dtype)
    if config.colour_space == "lab":
        colours = to_lab(colours)
    colours = without_constants(colours)
    return colours, find_palette(colours, config) if config.needs_palette else None


class Sums(NamedTuple):
    """What the regions of masks add up to: all over an image, and around each pixel.

    `masks` bool (N, H, W): M.
    `other` (N, 2, 1, H, W): R as numbers, the region that predicts.
    `size` (N, 2, 1, 1, 1): |R|.
    `total` (N, 2, C, 1, 1): sum(X R).
    `support` (N, 2, 1, H, W): K*R.
    `colours` (N, 2, C, H, W): K*(X R).
    """

    masks: Array
    other: Array
    size: Array
    total: Array
    support: Array
    colours: Array


class Inpainting(NamedTuple):
    """How badly masks are inpainted, and what in the predictions that depends on.

    `error` (N, 2, H, W): mean over the channels of |X - psi_K(R)|.
    `weight` (N, 2, 1, 1): 1 / |M| and -1 / |M'|; 0 for both where one is empty, so that nothing counts.
    `by_colours` (N, C, H, W), `by_support` (N, 1, H, W): dL_inp/dM by way of the numerators and of the
    denominators of the predictions, of which each pixel has one that counts, that of its own region.
    """

    error: Array
    weight: Array
    by_colours: Array
    by_support: Array


def add_up(scene: Scene, masks: Array) -> Sums:
    """Sums of the regions of `masks`, a bool array (N, H, W)."""
    xp = array_namespace(scene.colours, masks)
    M = xp.astype(masks, scene.colours.dtype)
    other = xp.stack([1 - M, M], axis=1)[:, :, None, ...]
    products = scene.colours[:, None, ...] * other
    return Sums(
        masks=masks,
        other=other,
        size=xp.sum(other, axis=(3, 4), keepdims=True),
        total=xp.sum(products, axis=(3, 4), keepdims=True),
        support=scene.K(other),
        colours=scene.K(products),
    )


def predict(scene: Scene, sums: Sums) -> tuple[Array, Array]:
    """psi_K(R) (eq. 7), shape (N, 2, C, H, W), and its denominator, (N, 2, 1, H, W).

    An empty region has the mean colour 0, mid-grey, and so predicts mid-grey; the objective counts no error
    against it.
    """
    epsilon = scene.config.epsilon
    support = sums.support + (epsilon * sums.size + _empty(sums))
    predicted = sums.colours + epsilon * sums.total
    predicted /= support
    return predicted, support


def inpaint(scene: Scene, sums: Sums) -> Inpainting:
    """Predict each region from the other, and compare.

    Of ``|X - N / S|`` the derivatives by N and S are ``-sign / S`` and ``sign psi / S``. At foreground pixels
    they count with the other sign, since N and S are sums over M' = 1 - M there.
    """
    xp = array_namespace(scene.colours)
    predicted, support = predict(scene, sums)
    residual = scene.colours[:, None, ...] - predicted
    weight = _weight(sums)
    own_residual = own(residual, sums.masks)
    by_colours = xp.sign(own_residual)
    by_colours *= own((weight / residual.shape[2]) / support, sums.masks)
    own_residual -= scene.colours  # -psi
    return Inpainting(
        error=xp.mean(xp.abs(residual), axis=2),
        weight=weight[:, :, 0, ...],
        by_colours=by_colours,
        by_support=xp.sum(by_colours * own_residual, axis=1, keepdims=True),
    )


def regional_errors(sums: Sums, inpainting: Inpainting) -> Array:
    """E_F and E_B (eq. 8), shape (N, 2, 1, 1); 0 for both where a region is empty."""
    xp = array_namespace(inpainting.error)
    return add_up_errors(sums, inpainting.error) * xp.abs(inpainting.weight)


def add_up_errors(sums: Sums, error: Array) -> Array:
    """Sum over each region of the `error` (N, 2, H, W) of its pixels: (N, 2, 1, 1)."""
    xp = array_namespace(error)
    n, _, h, w = error.shape
    region = xp.reshape(xp.flip(sums.other, axis=1), (n, 2, h * w))
    return xp.vecdot(region, xp.reshape(error, (n, 2, h * w)))[..., None, None]


def inpainting_error(sums: Sums, inpainting: Inpainting) -> Array:
    """L_inp = E_F + E_B (eq. 8), shape (N,)."""
    xp = array_namespace(inpainting.error)
    return xp.sum(regional_errors(sums, inpainting), axis=(1, 2, 3))


def objective(scene: Scene, sums: Sums, inpainting: Inpainting) -> Array:
    """L_IEM = L_inp - lambda (sigma(M) + sigma(M')) (eq. 11), shape (N,); and the part of `evidence`."""
    value = inpainting_error(sums, inpainting) - scene.config.regularization * diversity(scene, sums)
    if scene.palette is None or not scene.config.colour_weight:
        return value
    likelihood = log_likelihood(*count(sums.masks, scene.palette), value.dtype)
    if scene.prior is not None:
        xp = array_namespace(value)
        likelihood = likelihood + xp.sum(xp.where(sums.masks, scene.prior, 0), axis=(1, 2), dtype=value.dtype)
    return value + scene.config.colour_weight * likelihood


def evidence(scene: Scene, masks: Array) -> Array | None:
    """What a pixel's colour says of its side, and the prior: the marginals' gradient (N, H, W), if any."""
    if scene.palette is None or not scene.config.colour_weight:
        return None
    xp = array_namespace(masks)
    ratio = log_ratio(*count(masks, scene.palette), scene.colours.dtype)
    said = xp.reshape(xp.take_along_axis(ratio, scene.palette.codes, axis=1), masks.shape)
    return scene.config.colour_weight * (said if scene.prior is None else said + scene.prior)


def diversity(scene: Scene, sums: Sums) -> Array:
    """sigma(M) + sigma(M'), the squared distances of all pixels to their region's mean (eq. 11): (N,)."""
    xp = array_namespace(scene.colours)
    return xp.sum((scene.colours - own(_means(sums), sums.masks)) ** 2, axis=(1, 2, 3))


def gradient(scene: Scene, sums: Sums, inpainting: Inpainting) -> Array:
    """dL_IEM/dM with M treated as real-valued, shape (N, H, W); 0 where a region is empty.

    It has three parts at a pixel q:

    - directly, and through the normalisers: ``(e_F(q) - E_F) / |M| - (e_B(q) - E_B) / |M'|``;
    - through the predictions N / S, N = K*(X R) + eps sum(X R), S = K*R + eps sum(R): the adjoint of K*
      carries it from pixel to pixel, and eps to all;
    - of the diversity, ``|X_q - mu(M)|^2 - |X_q - mu(M')|^2``, the means being at their optimum. The square
      of X_q cancels.

    So it is a part that is multiplied by X_q, and the rest. The colour marginals add their `evidence`.
    """
    xp = array_namespace(scene.colours)
    n, _, h, w = inpainting.error.shape
    epsilon, weight = scene.config.epsilon, inpainting.weight
    regularization = scene.config.regularization * xp.astype(weight[:, :1, ...] > 0, weight.dtype)
    means = _means(sums)
    mean_f, mean_b = means[:, 0, ...], means[:, 1, ...]

    by_colours = epsilon * xp.sum(inpainting.by_colours, axis=(2, 3), keepdims=True)
    by_support = epsilon * xp.sum(inpainting.by_support, axis=(2, 3), keepdims=True)
    normalisers = xp.sum(weight * regional_errors(sums, inpainting), axis=1, keepdims=True)
    squares = xp.sum(mean_f**2 - mean_b**2, axis=1, keepdims=True)
    direct = xp.reshape(weight, (n, 1, 2)) @ xp.reshape(inpainting.error, (n, 2, h * w))

    multiplied = scene.K.adjoint(inpainting.by_colours)
    multiplied += by_colours + 2 * regularization * (mean_f - mean_b)
    multiplied *= scene.colours
    rest = scene.K.adjoint(inpainting.by_support)
    rest += by_support - regularization * squares - normalisers
    rest += xp.reshape(direct, (n, 1, h, w))
    total = xp.sum(multiplied, axis=1) + rest[:, 0, ...]
    by_colour = evidence(scene, sums.masks)
    if by_colour is None:
        return total
    return total + by_colour * xp.astype(weight[:, 0, ...] > 0, weight.dtype)


def own(values: Array, masks: Array) -> Array:
    """Of `values` (N, 2, P, H, W), at each pixel those of its own region: (N, P, H, W)."""
    xp = array_namespace(values, masks)
    return xp.where(masks[:, None, ...], values[:, 0, ...], values[:, 1, ...])


def _empty(sums: Sums) -> Array:
    """1 where R is empty, otherwise 0: (N, 2, 1, 1, 1)."""
    xp = array_namespace(sums.size)
    return xp.astype(sums.size == 0, sums.size.dtype)


def _weight(sums: Sums) -> Array:
    xp = array_namespace(sums.size)
    empty = _empty(sums)
    over_size = xp.flip((1 - xp.max(empty, axis=1, keepdims=True)) / (sums.size + empty), axis=1)
    return xp.concat([over_size[:, :1, ...], -over_size[:, 1:, ...]], axis=1)


def _means(sums: Sums) -> Array:
    """Mean colours mu(M) and mu(M'), shape (N, 2, C, 1, 1); 0 of an empty region."""
    xp = array_namespace(sums.size)
    return xp.flip(sums.total / (sums.size + _empty(sums)), axis=1)
