import io
import struct
import wave

import numpy as np
import pytest

from lamina.datasets.audio import decode_wav, read_wav, resample
from lamina.datasets.images import decode_image, fit_image
from lamina.datasets.resize import INTERPOLATIONS, resize
from lamina.wire.errors import DataLossError


def wav(samples, width=2, rate=8000):
    channels = samples.shape[1]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def test_bilinear_equals_interpolation_between_pixel_centres():
    row = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    centres = np.arange(5) + 0.5
    wanted = np.interp((np.arange(8) + 0.5) * 5 / 8, centres, row)
    got = resize(row.reshape(1, 5, 1), (1, 8), "bilinear")
    np.testing.assert_allclose(got.ravel(), wanted, rtol=1e-6)


def test_nearest_takes_the_pixel_below_the_centre():
    assert resize(np.arange(5.0).reshape(5, 1, 1), (3, 1), "nearest").ravel().tolist() == [0, 2, 4]


def test_area_is_the_mean_of_what_a_pixel_covers():
    got = resize(np.arange(6.0).reshape(1, 6, 1), (1, 4), "area").ravel()
    np.testing.assert_allclose(got, [1 / 3, (0.5 * 1 + 2) / 1.5, (3 + 4 * 0.5) / 1.5, (4 * 0.5 + 5) / 1.5], rtol=1e-6)


def test_bicubic_uses_the_kernel_of_keys():
    # Half way between two pixels the weights are -1/16, 9/16, 9/16, -1/16.
    row = np.array([2.0, 7.0, 1.0, 8.0, 2.0, 8.0])
    got = resize(row.reshape(1, 6, 1), (1, 3), "bicubic").ravel()
    assert got[1] == pytest.approx((-row[1] + 9 * row[2] + 9 * row[3] - row[4]) / 16)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(3, 4), (9, 5), (1, 1), (20, 31)])
def test_a_constant_image_stays_constant(interpolation, size):
    got = resize(np.full((7, 5, 3), 9, np.uint8), size, interpolation)
    assert got.shape == (*size, 3) and got.dtype == np.float32
    np.testing.assert_allclose(got, 9, rtol=1e-5)


def test_cropping_and_padding_keep_the_shape_of_things():
    image = np.arange(8.0).reshape(2, 4, 1)
    np.testing.assert_array_equal(fit_image(image, (2, 2), crop=True)[..., 0], [[1, 2], [5, 6]])
    padded = fit_image(image, (4, 4), pad=True)[..., 0]
    np.testing.assert_array_equal(padded[1:3], image[..., 0])
    assert not padded[0].any() and not padded[3].any()
    narrow = fit_image(np.ones((21, 29, 1)), (16, 12), pad=True)[..., 0]
    assert narrow.any(1).tolist() == [False] * 3 + [True] * 8 + [False] * 5


@pytest.mark.parametrize("width, dtype", [(1, "u1"), (2, "<i2"), (4, "<i4")])
def test_wav_samples_are_read(width, dtype):
    bounds = np.iinfo(dtype)
    stored = np.array([[bounds.min, 5], [bounds.max, 7], [3, 9]], dtype)
    samples, rate = read_wav(wav(stored, width), "x.wav")
    assert rate == 8000
    np.testing.assert_array_equal(samples, stored)
    decoded, _ = decode_wav(wav(stored, width), "x.wav")
    assert decoded[0, 0] == -1 and decoded[1, 0] == pytest.approx(1, abs=0.01)
    assert decoded.dtype == np.float32


def test_24_bit_samples_stand_in_the_upper_bytes():
    stored = np.array([[1, 2, 3], [0, 0, 0x80]], np.uint8)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 3, 8000, 2, "NONE", ""))
        out.writeframes(stored.tobytes())
    decoded, _ = decode_wav(file.getvalue(), "x.wav")
    np.testing.assert_allclose(decoded.ravel(), [0x030201 / 2**23, -1], rtol=1e-6)


def test_damaged_wav_files_are_named():
    whole = wav(np.zeros((100, 1), "<i2"))
    for data in (b"", b"RIFF", whole[:20], whole[:-50], b"x" * 100):
        with pytest.raises(DataLossError, match="'x.wav'"):
            read_wav(data, "x.wav")
    compressed = bytearray(whole)
    compressed[20:22] = struct.pack("<H", 85)
    with pytest.raises(DataLossError, match="PCM"):
        read_wav(bytes(compressed), "x.wav")


def test_resampling_keeps_a_tone():
    def tone(rate):
        return np.sin(2 * np.pi * 50 * np.arange(rate) / rate)[:, None].astype(np.float32)

    for rate in (2000, 1000, 777):
        np.testing.assert_allclose(resample(tone(1000), 1000, rate), tone(rate), atol=1e-5)


def png(array, **options):
    image_module = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image_module.fromarray(array).save(file, "PNG", **options)
    return file.getvalue()


def test_images_are_decoded_in_each_colour_mode():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 3), np.uint8)
    data = png(pixels)
    np.testing.assert_array_equal(decode_image(data, "x.png", "rgb"), pixels)
    assert decode_image(data, "x.png", "grayscale").shape == (4, 3, 1)
    with_alpha = decode_image(data, "x.png", "rgba")
    np.testing.assert_array_equal(with_alpha[..., :3], pixels)
    assert (with_alpha[..., 3] == 255).all()


def test_16_bit_images_are_scaled():
    deep = np.array([[0, 256, 65535]], np.uint16)
    np.testing.assert_array_equal(decode_image(png(deep), "x.png", "grayscale")[..., 0], [[0, 1, 255]])


def test_unreadable_images_are_named():
    data = png(np.zeros((50, 50, 3), np.uint8))
    for bad in (b"", b"no image", data[:40], data[:-30]):
        with pytest.raises(DataLossError, match="'x.png' is no readable image"):
            decode_image(bad, "x.png")
