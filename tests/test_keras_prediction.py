import numpy as np
import pytest

networks = pytest.importorskip("iem_xp_keras.network", reason="Keras or its backend is not installed")
prediction = pytest.importorskip("iem_xp_keras.prediction", reason="Keras or its backend is not installed")


@pytest.fixture(scope="module")
def network():
    return networks.build_network(12, 4, seed=0)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_images_are_predicted_in_batches_of_one_size(network, images, count, monkeypatch):
    sizes = []
    whole = np.asarray(network.predict_on_batch(images))[..., 0]
    predict = network.predict_on_batch
    monkeypatch.setattr(
        network, "predict_on_batch", lambda batch: (sizes.append(len(batch)), predict(batch))[1]
    )
    logits = prediction.predict_logits(network, images[:count], 2)
    assert sizes == [2] * ((count + 1) // 2)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, whole[:count], rtol=1e-3, atol=1e-5)


def test_a_prediction_is_the_probability_of_the_logit(network, images):
    predicted = prediction.SegNetModel(network).predict(images)
    assert (predicted.shape, predicted.dtype) == ((5, 12, 12), np.float32)
    logits = prediction.predict_logits(network, images).astype(float)
    np.testing.assert_allclose(predicted, 1 / (1 + np.exp(-logits)), rtol=1e-5)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_certainty_is_0_or_1_without_overflow(logit, images):
    class Sure:
        input_shape = (None, 12, 12, 3)

        def predict_on_batch(self, batch):
            return np.full((*batch.shape[:3], 1), logit, np.float32)

    assert np.all(prediction.SegNetModel(Sure()).predict(images) == (logit > 0))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((12, 12, 3), np.uint8),
        np.zeros((1, 12, 13, 3), np.uint8),
        np.zeros((1, 12, 12), np.uint8),
        np.zeros((1, 12, 12, 3), np.float32),
    ],
)
def test_images_of_another_shape_or_type_are_an_error(network, images):
    with pytest.raises(ValueError, match=r"uint8 of shape \(N, 12, 12, 3\), not"):
        prediction.SegNetModel(network).predict(images)
