import numpy as np
import pytest

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
