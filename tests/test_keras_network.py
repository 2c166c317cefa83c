import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

keras = pytest.importorskip("keras", reason="Keras or its backend is not installed")
networks = pytest.importorskip("iem_xp_keras.network", reason="Keras or its backend is not installed")


@pytest.fixture(scope="module")
def network():
    return networks.build_network(24, 8, seed=0)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)


def test_a_region_is_the_mean_of_its_pixels(rng):
    images = rng.random((2, 8, 9, 3)).astype(np.float32)
    means = np.asarray(networks.RegionMeans(3)(images))
    rows, columns = [(0, 3), (2, 6), (5, 8)], [(0, 3), (3, 6), (6, 9)]
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            expected = images[:, top:bottom, left:right].mean((1, 2))
            np.testing.assert_allclose(means[:, i, j], expected, rtol=1e-5)


def test_there_is_one_logit_for_every_pixel(network, images):
    logits = network.predict_on_batch(images)
    assert (logits.shape, logits.dtype) == ((3, 24, 24, 1), np.float32)
    assert logits.min() < 0 or logits.max() > 1


def test_a_side_may_be_odd():
    assert networks.build_network(17, 4, seed=0).output_shape == (None, 17, 17, 1)


class Reference:
    """The SegNet once more, in NumPy and float64, with the weights of a network."""

    def __init__(self, network):
        self.weights = {weight.path: np.asarray(weight, float) for weight in network.weights}

    def convolved(self, name, x, stride=1):
        kernel = self.weights[f"{name}/kernel"]
        side, overlap = (
            len(kernel),
            len(kernel) - stride,
        )  # what a side is padded by, where the stride divides it
        border = (overlap // 2, overlap - overlap // 2)
        windows = sliding_window_view(np.pad(x, ((0, 0), border, border, (0, 0))), (side, side), (1, 2))
        x = np.einsum("nhwcij,ijcd->nhwd", windows[:, ::stride, ::stride], kernel)
        return x + self.weights.get(f"{name}/bias", 0)

    def normalised(self, name, x, stride=1):
        x = self.convolved(name, x, stride)
        x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
        return x * self.weights[f"{name}_norm/gamma"] + self.weights[f"{name}_norm/beta"]

    def residual(self, name, x, stride=1):
        change = np.maximum(self.normalised(f"{name}_1", x, stride), 0)
        change = self.normalised(f"{name}_2", change)
        if stride == 2:
            n, height, width, channels = x.shape
            x = x.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))
            x = self.normalised(f"{name}_shortcut", x)
        return np.maximum(x + change, 0)

    def __call__(self, images):
        x = self.residual("reduction", images / 127.5 - 1, stride=2)
        for block in (1, 2, 3):
            x = self.residual(f"block_{block}", x)
        side, levels = x.shape[1], [x]
        for bins in (1, 2, 3, 6):
            step = side // bins
            level = x.reshape(len(x), bins, step, bins, step, -1).mean((2, 4))
            level = (self.convolved if bins == 1 else self.normalised)(f"bins_{bins}", level)
            levels.append(resized(np.maximum(level, 0), side))
        x = np.maximum(self.normalised("head", np.concatenate(levels, axis=-1)), 0)
        return resized(self.convolved("logit", x), 2 * side)


def resized(x, side):
    """Bilinear interpolation between the centres of pixels, whose values go on beyond the border."""
    places = np.clip((np.arange(side) + 0.5) * x.shape[1] / side - 0.5, 0, x.shape[1] - 1)
    shares = np.maximum(0, 1 - abs(places[:, np.newaxis] - np.arange(x.shape[1])))
    return np.einsum("ih,jw,nhwc->nijc", shares, shares, x)


def test_the_network_computes_what_the_paper_says(images):
    network = networks.build_network(24, 8, seed=0)
    for weight in network.weights:  # norms and biases that do something
        if not weight.path.endswith("kernel"):
            weight.assign(np.random.default_rng(len(weight.path)).uniform(0.5, 1.5, weight.shape))
    np.testing.assert_allclose(
        network.predict_on_batch(images), Reference(network)(images), rtol=1e-3, atol=1e-3
    )


def test_an_image_is_predicted_alike_in_every_batch(network, images):
    np.testing.assert_allclose(
        network.predict_on_batch(images)[1:2], network.predict_on_batch(images[1:2]), rtol=1e-4, atol=1e-5
    )


def test_resolution_is_reduced_once_and_then_stays(network):
    sides = {layer.name: layer.output.shape[1] for layer in network.layers}
    assert sides["reduction_relu"] == sides["block_3_relu"] == sides["pyramid"] == 12
    assert [sides[f"bins_{bins}_means"] for bins in (1, 2, 3, 6)] == [1, 2, 3, 6]


def test_every_convolution_but_that_of_the_whole_image_and_of_the_logit_has_its_norm(network):
    names = {layer.name for layer in network.layers}
    bare = {
        layer.name
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D) and f"{layer.name}_norm" not in names
    }
    assert bare == {"bins_1", "logit"}


def test_a_norm_is_that_of_each_image_and_channel(network):
    norm = network.get_layer("head_norm")
    x = np.random.default_rng(0).normal(3, 2, (2, 12, 12, 8)).astype(np.float32) * np.arange(1, 9)
    x = np.asarray(norm(x))
    np.testing.assert_allclose(x.mean((1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std((1, 2)), 1, atol=1e-3)


def test_levels_are_scaled_to_1_on_both_sides_of_0_inside_the_network(network):
    scaled = np.asarray(network.get_layer("rescaling")(np.array([0, 127.5, 255])))
    np.testing.assert_allclose(scaled, [-1, 0, 1], atol=1e-6)


def test_the_seed_alone_decides_the_weights(network):
    same, other = networks.build_network(24, 8, seed=0), networks.build_network(24, 8, seed=1)
    for one, two in zip(network.get_weights(), same.get_weights(), strict=True):
        assert np.array_equal(one, two)
    kernels = [build.get_layer("block_1_1").kernel.numpy() for build in (network, other)]
    assert not np.allclose(*kernels)
    assert not np.allclose(kernels[0], network.get_layer("block_2_1").kernel.numpy())


def test_a_saved_network_is_loaded_safely_and_predicts_the_same(network, images, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    assert np.array_equal(loaded.predict_on_batch(images), network.predict_on_batch(images))
