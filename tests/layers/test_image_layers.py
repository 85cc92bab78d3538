"""Image layers: data formats, single images, labels, masks and boxes beside the images."""

import jax
import numpy as np
import pytest

from lamina import layers
from lamina.layers.bounding_boxes import BOX_FORMATS, from_corners, to_corners

RNG = np.random.default_rng(5)
IMAGES = RNG.uniform(0, 255, (4, 10, 12, 3)).astype("float32")

GEOMETRIC = [
    layers.RandomFlip(seed=1, bounding_box_format="xyxy"),
    layers.RandomRotation((0.25, 0.25), seed=1, bounding_box_format="xyxy", fill_mode="constant"),
    layers.RandomTranslation((0.2, 0.2), (-0.25, -0.25), bounding_box_format="xyxy", fill_mode="constant"),
    layers.RandomZoom((-0.5, -0.5), bounding_box_format="xyxy", fill_mode="constant"),
    layers.RandomCrop(8, 8, seed=1, bounding_box_format="xyxy"),
    layers.CenterCrop(8, 8, bounding_box_format="xyxy"),
    layers.Resizing(20, 24, interpolation="nearest", bounding_box_format="xyxy"),
]


@pytest.mark.parametrize("layer", GEOMETRIC, ids=lambda layer: type(layer).__name__)
def test_masks_and_boxes_follow_the_images(layer):
    """A bright rectangle stays inside its box, and its mask on top of it."""
    images = np.zeros((4, 12, 12, 1), "float32")
    images[:, 4:7, 5:8] = 100
    data = {
        "images": images,
        "segmentation_masks": (images > 0).astype("int32"),
        "bounding_boxes": {
            "boxes": np.tile(np.array([[[5, 4, 8, 7]]], "float32"), (4, 1, 1)),
            "labels": np.ones((4, 1)),
        },
    }
    out = layer(data, training=True)
    bright = np.asarray(out["images"][..., 0]) > 50
    assert bright.any((1, 2)).all()
    assert out["segmentation_masks"].dtype == np.int32
    assert (np.asarray(out["segmentation_masks"][..., 0]) > 0).astype(int).sum() == pytest.approx(bright.sum(), rel=0.3)
    for image, (left, top, right, bottom) in zip(bright, np.asarray(out["bounding_boxes"]["boxes"][:, 0]), strict=True):
        rows, columns = np.nonzero(image)
        np.testing.assert_allclose([left, right], [columns.min(), columns.max() + 1], atol=0.6)
        np.testing.assert_allclose([top, bottom], [rows.min(), rows.max() + 1], atol=0.6)


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_box_formats_go_there_and_back(box_format):
    corners = np.array([[1.0, 2.0, 5.0, 8.0], [0.0, 0.0, 10.0, 20.0]], "float32")
    there = from_corners(corners, box_format, 20, 10)
    np.testing.assert_allclose(to_corners(there, box_format, 20, 10), corners, atol=1e-5)


def test_box_formats_mean_what_they_say():
    corners = np.array([[1.0, 2.0, 5.0, 8.0]], "float32")
    assert from_corners(corners, "xywh", 20, 10).tolist() == [[1, 2, 4, 6]]
    assert from_corners(corners, "yxyx", 20, 10).tolist() == [[2, 1, 8, 5]]
    assert from_corners(corners, "center_yxhw", 20, 10).tolist() == [[5, 3, 6, 4]]
    np.testing.assert_allclose(from_corners(corners, "rel_xyxy", 20, 10), [[0.1, 0.1, 0.5, 0.4]], atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: layers.RandomRotation((0.1, 0.1), **k),
        lambda **k: layers.RandomSharpness((0.2, 0.2), **k),
        lambda **k: layers.RandomHue((0.3, 0.3), seed=3, **k),
        lambda **k: layers.Equalization(**k),
        lambda **k: layers.CenterCrop(4, 6, **k),
    ],
)
def test_channels_first_and_single_images_give_the_same(make):
    last = make()(IMAGES[:1], training=True)
    first = make(data_format="channels_first")(np.moveaxis(IMAGES[:1], -1, 1), training=True)
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, atol=1e-3)
    np.testing.assert_allclose(make()(IMAGES[0], training=True), last[0], atol=1e-3)


def test_integers_become_floats_and_rest_means_no_change():
    images = IMAGES.astype("uint8")
    out = layers.RandomBrightness(0.5)(images, training=False)
    assert out.dtype == "float32"
    assert (np.asarray(out) == images).all()


def test_value_range_scales_with_the_images():
    for make in (layers.RandomPosterization, layers.RandomSaturation, layers.RandomHue):
        factor = (3, 3) if make is layers.RandomPosterization else (0.3, 0.3)
        large = make(factor, value_range=(0, 255), seed=1)(IMAGES, training=True)
        small = make(factor, value_range=(0, 1), seed=1)(IMAGES / 255, training=True)
        np.testing.assert_allclose(np.asarray(small) * 255, large, atol=0.1 if factor == (0.3, 0.3) else 40)


def test_rotation_by_a_quarter_turn():
    square = IMAGES[:, :10, :10]
    out = layers.RandomRotation((0.25, 0.25))(square, training=True)
    np.testing.assert_allclose(out, np.rot90(square, axes=(1, 2)), atol=0.1)


def test_mix_up_mixes_labels_as_it_mixes_images():
    labels = np.eye(4, dtype="float32")
    images = np.broadcast_to(labels[:, None, None, :], (4, 2, 2, 4))  # each image shows its label
    out = layers.MixUp(1.0, seed=2)({"images": images, "labels": labels}, training=True)
    np.testing.assert_allclose(out["images"][:, 0, 0], out["labels"], atol=1e-6)
    assert (np.asarray(out["labels"]) > 0).sum() > 4


def test_cut_mix_labels_tell_the_area():
    labels = np.eye(4, dtype="float32")
    images = np.broadcast_to(labels[:, None, None, :], (4, 16, 16, 4))
    out = layers.CutMix(1.0, seed=2)({"images": images, "labels": labels}, training=True)
    np.testing.assert_allclose(np.mean(out["images"], (1, 2)), out["labels"], atol=1e-5)


def test_random_crop_is_a_part_of_the_images():
    out = layers.RandomCrop(4, 5, seed=1)(IMAGES, training=True)
    places = [(i, j) for i in range(7) for j in range(8)]
    assert any(np.array_equal(out, IMAGES[:, i : i + 4, j : j + 5]) for i, j in places)


def test_random_layers_work_compiled_and_differ_between_images():
    layer = layers.RandomTranslation(0.5, 0.5, seed=1)
    out = jax.jit(lambda x: layer.stateless_call([], [], x, training=True)[0])(layer(IMAGES[:1]) * 0 + IMAGES)
    assert out.shape == IMAGES.shape
    same = np.repeat(IMAGES[:1], 4, 0)
    out = np.asarray(layer(same, training=True))
    assert not np.allclose(out[0], out[1])


def test_discretization_finds_bins_of_equal_size():
    data = RNG.standard_normal(20_000).astype("float32")
    for parts in (data, (part for part in data.reshape(20, -1))):
        layer = layers.Discretization(num_bins=4, epsilon=0.001)
        layer.adapt(parts)
        np.testing.assert_allclose(layer.bin_boundaries, np.quantile(data, [0.25, 0.5, 0.75]), atol=0.05)
        assert np.bincount(layer(data)).min() > 4500
    again = layers.Discretization.from_config(layer.get_config())
    assert again.bin_boundaries == layer.bin_boundaries


def test_category_encoding_modes():
    ids = np.array([[0, 2, 2], [1, 1, 1]])
    assert layers.CategoryEncoding(3)(ids).tolist() == [[1, 0, 1], [0, 1, 0]]
    weights = np.array([[1, 2, 3], [4, 5, 6]], "float32")
    counts = layers.CategoryEncoding(3, output_mode="count")(ids, count_weights=weights)
    assert counts.tolist() == [[1, 0, 5], [0, 15, 0]]
    assert layers.CategoryEncoding(3, output_mode="one_hot")(ids[:, :1]).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_spectrogram_finds_the_tone():
    rate, tone = 1000, 125
    wave = np.sin(2 * np.pi * tone * np.arange(512) / rate).astype("float32")
    power = layers.STFTSpectrogram(mode="psd", frame_length=128, scaling=None)(wave[None, :, None])
    assert np.argmax(power[0].mean(0)) == round(tone / rate * 128)
    mel = layers.MelSpectrogram(fft_length=256, sequence_stride=64, sampling_rate=rate, num_mel_bins=16)
    bands = mel(wave)
    weights = mel._bands()
    assert np.argmax(bands.mean(1)) == np.argmax(weights[round(tone / rate * 256)])


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: layers.RandomRotation(2), "factor must be a number between -1 and 1, or a pair"),
        (lambda: layers.RandomFlip("horizntal"), "Did you mean 'horizontal'"),
        (lambda: layers.RandomZoom(0.1, fill_mode="reflekt"), "Did you mean 'reflect'"),
        (lambda: layers.RandomBrightness(0.1, value_range=255), "value_range must be a pair"),
        (lambda: layers.RandomGaussianBlur(kernel_size=4), "kernel_size must be odd"),
        (lambda: layers.Resizing(4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "exclude each other"),
        (lambda: layers.RandomHue(0.1)(np.ones((2, 3), "float32")), "expected images with 3 axes, or 4"),
        (lambda: layers.Discretization(), "give either bin_boundaries or num_bins"),
        (lambda: layers.Discretization([2, 1]), "bin_boundaries must rise"),
        (lambda: layers.CategoryEncoding(3, output_mode="onehot"), "Did you mean 'one_hot'"),
        (lambda: layers.STFTSpectrogram(mode="loud"), "mode must be"),
        (lambda: layers.STFTSpectrogram(frame_length=8, fft_length=4), "fft_length must be at least frame_length=8"),
    ],
)
def test_errors(use, message):
    with pytest.raises((TypeError, ValueError), match=message):
        use()


def test_boxes_need_a_format():
    data = {"images": IMAGES, "bounding_boxes": {"boxes": np.ones((4, 1, 4)), "labels": np.ones((4, 1))}}
    with pytest.raises(ValueError, match="needs bounding_box_format"):
        layers.RandomFlip()(data, training=True)
