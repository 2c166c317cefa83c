"""The method written down once more, literally: one image, float64, no matrices, no batches, no retirement.

Slow, and sharing no code with the library (only the configuration object), so that an error would have to be
made twice. `X` is a colour image (C, H, W) in [-1, 1]; `M` a mask (H, W), 1 = foreground. Everything but
`update` takes a real-valued `M`; `objective` also a complex one, for derivatives by a complex step. `codes`
(H, W) are the colours of the pixels in a palette, where the colour marginals count.
"""

from __future__ import annotations

import numpy as np

from iem_xp import IEMConfig


def colours(image):
    """X of one image (H, W, C), uint8 or floating in [0, 1]."""
    scaled = image.astype(np.float64) / (255 if image.dtype == np.uint8 else 1)
    return np.moveaxis(scaled, -1, 0) * 2 - 1


def kernel(config):
    """Taps of one pass, from the definition."""
    centre = config.kernel_size // 2
    taps = np.array([np.exp(-((i - centre) ** 2) / (2 * config.sigma**2)) for i in range(config.kernel_size)])
    return taps / taps.sum()


def convolve(plane, taps, axis):
    """Convolution of a plane (..., H, W) along an axis, zero outside."""
    plane = np.moveaxis(plane, axis, -1)
    n, radius = plane.shape[-1], len(taps) // 2
    outside = np.zeros((*plane.shape[:-1], radius))
    padded = np.concatenate([outside, plane, outside], -1)
    result = sum(tap * padded[..., i : i + n] for i, tap in enumerate(taps))
    return np.moveaxis(result, -1, axis)


def passes(plane, config):
    """`repeats` passes, each starting from zeros outside the image."""
    taps = kernel(config)
    for _ in range(config.repeats):
        plane = convolve(convolve(plane, taps, -1), taps, -2)
    return plane


def blocks(length, s):
    return [slice(start, min(start + s, length)) for start in range(0, length, s)]


def pool(plane, s):
    """Mean of every s x s block; the last ones may be smaller."""
    rows, columns = blocks(plane.shape[-2], s), blocks(plane.shape[-1], s)
    return np.stack([np.stack([plane[..., r, c].mean((-2, -1)) for c in columns], -1) for r in rows], -2)


def nearest(small, s, height, width):
    """Every value repeated over its s x s block."""
    return small.repeat(s, -2).repeat(s, -1)[..., :height, :width]


def K(plane, config):
    """The filter K* (eq. 6)."""
    s = config.scale_factor
    if s == 1:
        return passes(plane, config)
    return nearest(passes(pool(plane, s), config), s, *plane.shape[-2:])


def K_adjoint(plane, config):
    """Its adjoint: the steps' adjoints in reverse order. A pass, of symmetric taps, is its own."""
    s = config.scale_factor
    if s == 1:
        return passes(plane, config)
    height, width = plane.shape[-2:]
    rows, columns = (np.array([b.stop - b.start for b in blocks(n, s)]) for n in (height, width))
    counts = rows[:, None] * columns[None, :]
    return nearest(passes(pool(plane, s) * counts, config) / counts, s, height, width)


def psi(X, R, config):
    """Prediction of every pixel from the region R (eq. 7)."""
    of_colours = K(X * R, config) + config.epsilon * (X * R).sum((-2, -1), keepdims=True)
    return of_colours / (K(R, config) + config.epsilon * R.sum())


def magnitude(z):
    """|z| of a real number, continued to complex numbers."""
    return z * np.sign(z.real)


def empty(M):
    return M.sum() == 0 or (1 - M).sum() == 0


def errors(X, M, config):
    """E_F and E_B (eq. 8); with one region empty there is nothing to compare."""
    if empty(M):
        return 0.0, 0.0
    return tuple((R * magnitude(X - psi(X, 1 - R, config)).mean(0)).sum() / R.sum() for R in (M, 1 - M))


def inpainting_error(X, M, config):
    """L_inp."""
    return sum(errors(X, M, config))


def deviation(X, R):
    """sigma(R)."""
    if R.sum() == 0:
        return 0.0
    mean = (X * R).sum((-2, -1), keepdims=True) / R.sum()
    return (R * (X - mean) ** 2).sum()


def objective(X, M, config, codes=None):
    """L_IEM (eq. 11), and the log-likelihood of the colours."""
    diversity = deviation(X, M) + deviation(X, 1 - M)
    value = inpainting_error(X, M, config) - config.regularization * diversity
    return value if codes is None else value + config.colour_weight * log_likelihood(M, codes)


def gradient(X, M, config, codes=None):
    """dL_IEM/dM by the chain rule, region by region; test_oracle.py holds it against `objective`."""
    if empty(M):
        return np.zeros_like(M)
    total = np.zeros_like(M)
    for R, sign in ((M, 1), (1 - M, -1)):  # R is predicted from S = 1 - R; sign = dR/dM = -dS/dM
        S = 1 - R
        support = K(S, config) + config.epsilon * S.sum()
        prediction = psi(X, S, config)
        by_pixel = np.abs(X - prediction).mean(0)
        error = (R * by_pixel).sum() / R.sum()
        direct = (by_pixel - error) / R.sum()

        by_prediction = -np.sign(X - prediction) / len(X) * R / R.sum()
        by_numerator = by_prediction / support
        by_support = -(by_prediction * prediction / support).sum(0)
        through = X * (
            K_adjoint(by_numerator, config) + config.epsilon * by_numerator.sum((-2, -1), keepdims=True)
        )
        through = through.sum(0) + K_adjoint(by_support, config) + config.epsilon * by_support.sum()

        mean = (X * R).sum((-2, -1), keepdims=True) / R.sum()
        deviation = ((X - mean) ** 2).sum(0)
        total += sign * (direct - through - config.regularization * deviation)
    return total if codes is None else total + config.colour_weight * log_ratio(M, codes)[codes]


def complex_step(X, M, config, pixels, codes=None):
    """dL_IEM/dM at some pixels from `objective` alone: a finite difference without cancellation."""
    step = 1e-30
    result = []
    for row, column in pixels:
        moved = M.astype(np.complex128)
        moved[row, column] += 1j * step
        result.append(objective(X, moved, config, codes).imag / step)
    return np.array(result)


def central_difference(X, M, config, pixels, codes=None, step=1e-6):
    """The same by central differences."""
    result = []
    for row, column in pixels:
        ahead, behind = M.copy(), M.copy()
        ahead[row, column] += step
        behind[row, column] -= step
        difference = objective(X, ahead, config, codes) - objective(X, behind, config, codes)
        result.append(difference / (2 * step))
    return np.array(result)


def boundary(M):
    height, width = M.shape
    result = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                outside = not (0 <= r < height and 0 <= c < width)
                result[row, column] |= outside or M[r, c] != M[row, column]
    return result


def smooth(M):
    height, width = M.shape
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            window = M[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            result[row, column] = window.sum() >= 4
    return result


def update(X, M, config, codes=None):
    """One update (eq. 10)."""
    g = gradient(X, M, config, codes)
    may_change = g != 0
    if config.boundary_only:
        may_change &= boundary(M)
    M = np.where(may_change, (g > 0).astype(np.float64), M)
    return smooth(M) if config.smooth else M


def square(height, width, side):
    """The centred initial square of a side given at a shorter image side of 128."""
    side = max(1, round(side * min(height, width) / 128))
    M = np.zeros((height, width))
    top, left = (height - side) // 2, (width - side) // 2
    M[top : top + side, left : left + side] = 1
    return M


def ascend(X, M, config=None, codes=None):
    """All updates, plainly."""
    config = config or IEMConfig()
    for _ in range(config.iterations):
        M = update(X, M, config, codes)
    return M


# Beyond the paper: colours as they look, and what they say of a mask


def lab(X):
    """CIELAB (CIE 15, sRGB of IEC 61966-2-1, white D65), scaled to about the range of X."""
    srgb = (X + 1) / 2
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = np.tensordot(to_xyz, linear, 1) / to_xyz.sum(1)[:, None, None]
    delta = 6 / 29
    x, y, z = np.where(xyz > delta**3, np.cbrt(xyz), xyz / (3 * delta**2) + 4 / 29)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]) / 50 - np.array([[[1]], [[0]], [[0]]])


def palette(X, count):
    """Codes (H, W) of k-means: begun at pixels of the R2 sequence, 8 rounds on every other row and column."""
    height, width = X.shape[1:]
    places = [((0.5 + k * 0.7548776662466927) % 1, (0.5 + k * 0.5698402909980532) % 1) for k in range(count)]
    centres = np.array([X[:, int(row * height), int(column * width)] for row, column in places])

    def distances(pixels):
        return ((pixels[:, None] - centres[None]) ** 2).sum(2)

    samples = X[:, ::2, ::2].reshape(len(X), -1).T
    for _ in range(8):
        distance = distances(samples)
        nearest = distance <= distance.min(1, keepdims=True) + 1e-12  # of equal centres each gets the pixel
        for k in range(count):
            if nearest[:, k].any():
                centres[k] = samples[nearest[:, k]].mean(0)
    distance = distances(X.reshape(len(X), -1).T)
    return np.argmax(distance <= distance.min(1, keepdims=True) + 1e-12, axis=1).reshape(height, width)


def smoothed(R, codes):
    """Pixels of each colour in a region, and 8 more coloured as the image is."""
    colours = range(codes.max() + 1)
    return np.array([R[codes == k].sum() + 8 * np.mean(codes == k) for k in colours])


def log_ratio(M, codes):
    """log p(colour | M) - log p(colour | M') of each colour that there is."""
    foreground, background = smoothed(M, codes), smoothed(1 - M, codes)
    return np.log(foreground / foreground.sum()) - np.log(background / background.sum())


def log_likelihood(M, codes):
    """Lambda(M)."""
    total = 0
    for R in (M, 1 - M):
        counts = smoothed(R, codes)
        total += (counts * np.log(counts / counts.sum()))[counts != 0].sum()
    return total


def entropy(*counts):
    """Of what was counted so often, in nats."""
    p = np.array(counts) / sum(counts)
    return -(p[p > 0] * np.log(p[p > 0])).sum()


def information(M, codes):
    """MI(M; colour) / H(M), from the counts of both together; 0 for masks of less than 2 %, or above 98 %."""
    if not 0.02 <= M.mean() <= 0.98:
        return 0.0
    colours = range(codes.max() + 1)
    of_mask = entropy(M.sum(), (1 - M).sum())
    of_colour = entropy(*(np.sum(codes == k) for k in colours))
    of_both = entropy(*(R[codes == k].sum() for k in colours for R in (M, 1 - M)))
    return (of_mask + of_colour - of_both) / of_mask
