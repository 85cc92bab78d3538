import io
import json
import wave

import numpy as np
import pytest

from lamina.core.settings import image_data_format, set_image_data_format
from lamina.datasets import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)
from lamina.datasets.images import fit_image
from lamina.wire.errors import DataLossError


@pytest.fixture
def pictures(tmp_path):
    """Three classes of four plain images; the red channel says which file it is."""
    image_module = pytest.importorskip("PIL.Image")
    for c, name in enumerate(("ape", "bee", "cat")):
        folder = tmp_path / name / ("deep" if name == "cat" else "")
        folder.mkdir(parents=True)
        for i in range(4):
            pixels = np.zeros((6, 8, 3), np.uint8)
            pixels[..., 0] = 10 * c + i
            image_module.fromarray(pixels).save(folder / f"{i}.png")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "ape" / "notes.txt").write_text("no image")
    return tmp_path


def red(images):
    return images[:, 0, 0, 0].astype(int).tolist()


def test_images_with_the_labels_of_their_folders(pictures, capsys):
    dataset = image_dataset_from_directory(pictures, image_size=(3, 4), shuffle=False, batch_size=5)
    assert capsys.readouterr().out == "Found 12 files belonging to 3 classes.\n"
    assert dataset.class_names == ["ape", "bee", "cat"]
    assert len(dataset.file_paths) == 12 and dataset.file_paths[-1].endswith("cat/deep/3.png")
    batches = list(dataset)
    assert [x.shape for x, _ in batches] == [(5, 3, 4, 3), (5, 3, 4, 3), (2, 3, 4, 3)]
    assert batches[0][0].dtype == np.float32 and batches[0][1].dtype == np.int32
    assert sum((red(x) for x, _ in batches), []) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert sum((y.tolist() for _, y in batches), []) == [0] * 4 + [1] * 4 + [2] * 4
    assert len(dataset) == 3
    assert [tuple(s.shape) for s in dataset.element_spec] == [(None, 3, 4, 3), (None,)]


def make(pictures, **options):
    return image_dataset_from_directory(pictures, **{"image_size": (2, 2), "verbose": False, **options})


def test_label_modes(pictures):
    _, y = next(iter(make(pictures, label_mode="categorical", shuffle=False)))
    np.testing.assert_array_equal(y, np.repeat(np.eye(3), 4, axis=0))
    _, y = next(iter(make(pictures, label_mode="binary", class_names=["cat", "ape"], shuffle=False)))
    assert y.tolist() == [[0.0]] * 4 + [[1.0]] * 4 and y.dtype == np.float32
    images = next(iter(make(pictures, label_mode=None, shuffle=False)))
    assert images.shape == (12, 2, 2, 3)
    assert next(iter(make(pictures, labels=None, label_mode=None, batch_size=None))).shape == (2, 2, 3)
    _, y = next(iter(make(pictures, labels=list(range(12)), shuffle=False)))
    assert y.tolist() == list(range(12))


def test_shuffling_keeps_images_and_labels_together_and_changes_each_epoch(pictures):
    dataset = make(pictures, seed=1, batch_size=12)
    epochs = [next(iter(dataset)) for _ in range(2)]
    for x, y in epochs:
        assert sorted(red(x)) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
        assert [r // 10 for r in red(x)] == y.tolist()
    assert red(epochs[0][0]) != red(epochs[1][0])
    assert red(next(iter(make(pictures, seed=1, batch_size=12)))[0]) == red(epochs[0][0])


def test_an_iterator_is_resumed_at_every_position(pictures):
    for options in ({"seed": 1}, {"seed": None}, {"shuffle": False}):
        dataset = make(pictures, batch_size=5, **options)
        iterator = iter(dataset)
        states, batches = [iterator.get_state()], []
        for batch in iterator:
            batches.append(batch)
            states.append(iterator.get_state())
        for i, state in enumerate(states):
            fresh = iter(dataset)
            fresh.set_state(json.loads(json.dumps(state)))
            np.testing.assert_equal(list(fresh), batches[i:])


def test_training_and_validation_parts_are_kerass(pictures, capsys):
    options = {"validation_split": 0.25, "seed": 7}
    both = make(pictures, subset="both", **options)
    parts = [make(pictures, subset=subset, **options) for subset in ("training", "validation")]
    assert [part.file_paths for part in both] == [part.file_paths for part in parts]
    assert [len(part.file_paths) for part in both] == [9, 3]
    paths = make(pictures, shuffle=False).file_paths
    np.random.RandomState(7).shuffle(paths)
    assert both[0].file_paths == paths[:9] and both[1].file_paths == paths[9:]
    assert capsys.readouterr().out == ""
    make(pictures, subset="both", verbose=True, **options)
    assert "Using 9 files for training.\nUsing 3 files for validation.\n" in capsys.readouterr().out


def test_colours_layout_and_fitting(pictures):
    assert next(iter(make(pictures, color_mode="grayscale")))[0].shape == (12, 2, 2, 1)
    assert next(iter(make(pictures, color_mode="rgba")))[0].shape == (12, 2, 2, 4)
    assert next(iter(make(pictures, data_format="channels_first")))[0].shape == (12, 3, 2, 2)
    before = image_data_format()
    set_image_data_format("channels_first")
    try:
        assert next(iter(make(pictures)))[0].shape == (12, 3, 2, 2)
    finally:
        set_image_data_format(before)
    padded, _ = next(iter(make(pictures, pad_to_aspect_ratio=True, image_size=(8, 8), shuffle=False)))
    want = fit_image(np.full((6, 8, 1), 23, np.uint8), (8, 8), pad=True)
    np.testing.assert_array_equal(padded[-1, :, :, 0], want[..., 0])
    cropped, _ = next(iter(make(pictures, crop_to_aspect_ratio=True, image_size=(3, 3), shuffle=False)))
    assert (cropped[-1, ..., 0] == 23).all()


def test_the_spec_is_known_without_reading(pictures):
    for path in pictures.rglob("*.png"):
        path.write_bytes(b"damaged")
    dataset = make(pictures, color_mode="grayscale", label_mode="categorical")
    assert [tuple(s.shape) for s in dataset.element_spec] == [(None, 2, 2, 1), (None, 3)]


def test_unreadable_images_are_named_or_skipped(pictures):
    (pictures / "bee" / "1.png").write_bytes(b"damaged")
    with pytest.raises(DataLossError, match="bee/1.png' is no readable image"):
        list(make(pictures))
    assert len(list(make(pictures, batch_size=None).ignore_errors())) == 11


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label_mode": "one"}, "label_mode must be"),
        ({"color_mode": "cmyk"}, "color_mode"),
        ({"interpolation": "bilinea"}, "Did you mean 'bilinear'"),
        ({"image_size": (0, 2)}, "image_size"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "exclude each other"),
        ({"validation_split": 0.2}, "together"),
        ({"validation_split": 2, "subset": "training", "seed": 1}, "between 0 and 1"),
        ({"validation_split": 0.2, "subset": "training"}, "needs a seed"),
        ({"validation_split": 0.01, "subset": "validation", "seed": 1}, "no file is left"),
        ({"validation_split": 0.2, "subset": "test", "seed": 1}, "subset"),
        ({"labels": [1, 2]}, "an integer for each of the 12 files"),
        ({"labels": "folders"}, "'inferred', None or a list"),
        ({"labels": None, "class_names": ["ape"]}, "class_names goes with"),
        ({"class_names": ["dog"]}, "must name subfolders"),
        ({"label_mode": "binary"}, "needs two classes"),
        ({"labels": [0] * 11 + [5], "label_mode": "categorical"}, "must be 0 to 1"),
    ],
)
def test_bad_arguments_are_named(pictures, options, message):
    with pytest.raises(ValueError, match=message):
        make(pictures, **options)


def test_folders_without_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        text_dataset_from_directory(tmp_path / "gone")
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="no file with the ending '.txt'"):
        text_dataset_from_directory(tmp_path)


def test_texts(tmp_path):
    for name, texts in {"neg": ["bad", "worse film"], "pos": ["good \u2603"]}.items():
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text, "utf-8")
    dataset = text_dataset_from_directory(tmp_path, shuffle=False, verbose=False)
    x, y = next(iter(dataset))
    assert x.tolist() == [b"bad", b"worse film", "good \u2603".encode()] and y.tolist() == [0, 0, 1]
    x, _ = next(iter(text_dataset_from_directory(tmp_path, max_length=4, shuffle=False, verbose=False)))
    assert x.tolist() == [b"bad", b"wors", b"good"]


def wav(path, samples, channels=1, rate=1000):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        out.writeframes(np.asarray(samples, "<i2").tobytes())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(file.getvalue())


def test_sounds(tmp_path):
    wav(tmp_path / "a" / "1.wav", [-32768, 0, 16384])
    wav(tmp_path / "b" / "2.wav", [8192])
    dataset = audio_dataset_from_directory(tmp_path, shuffle=False, verbose=False)
    x, y = next(iter(dataset))
    assert x[..., 0].tolist() == [[-1, 0, 0.5], [0.25, 0, 0]] and x.shape == (2, 3, 1) and y.tolist() == [0, 1]
    x, _ = next(iter(audio_dataset_from_directory(tmp_path, output_sequence_length=2, shuffle=False, verbose=False)))
    assert x[..., 0].tolist() == [[-1, 0], [0.25, 0]]
    x, _ = next(iter(audio_dataset_from_directory(tmp_path, sampling_rate=2000, shuffle=False, verbose=False)))
    assert x.shape == (2, 6, 1)
    with pytest.raises(ValueError, match="ragged"):
        audio_dataset_from_directory(tmp_path, ragged=True)
    (tmp_path / "a" / "1.wav").write_bytes(b"RIFF")
    with pytest.raises(DataLossError, match="1.wav"):
        list(audio_dataset_from_directory(tmp_path, verbose=False))


@pytest.mark.parametrize(
    "options",
    [
        {"sequence_length": 3},
        {"sequence_length": 3, "sequence_stride": 2, "sampling_rate": 2},
        {"sequence_length": 4, "start_index": 3, "end_index": 17},
        {"sequence_length": 1, "sequence_stride": 7},
    ],
)
def test_windows_of_a_series_equal_the_definition(options):
    data, targets = np.arange(20.0).reshape(20, 1) * [1, 10], np.arange(20) * 100
    length, stride = options["sequence_length"], options.get("sequence_stride", 1)
    rate, first, last = options.get("sampling_rate", 1), options.get("start_index", 0), options.get("end_index", 20)
    want = []
    start = first
    while start + (length - 1) * rate < last:
        want.append((data[start : start + length * rate : rate], targets[start]))
        start += stride
    dataset = timeseries_dataset_from_array(data, targets, batch_size=None, **options)
    got = list(dataset)
    assert len(got) == len(want) == len(dataset)
    for (window, target), (window_wanted, target_wanted) in zip(got, want, strict=True):
        np.testing.assert_array_equal(window, window_wanted)
        assert target == target_wanted
    batches = list(timeseries_dataset_from_array(data, None, batch_size=4, **options))
    np.testing.assert_array_equal(np.concatenate(batches), [window for window, _ in want])
    shuffled = timeseries_dataset_from_array(data, targets, shuffle=True, seed=3, **options)
    x, y = next(iter(shuffled))
    np.testing.assert_array_equal(x[:, 0, 0] * 100, y)
    assert sorted(y) == sorted(t for _, t in want)


def test_fewer_targets_end_the_windows():
    dataset = timeseries_dataset_from_array(np.arange(10), np.arange(4), sequence_length=2, batch_size=None)
    assert len(dataset) == 4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sequence_length": 11}, "no window of sequence_length=11"),
        ({"sequence_length": 0}, "sequence_length"),
        ({"sequence_length": 2, "sampling_rate": 0}, "sampling_rate"),
        ({"sequence_length": 2, "sequence_stride": 0}, "sequence_stride"),
        ({"sequence_length": 2, "start_index": 10}, "lie within the 10 values"),
        ({"sequence_length": 2, "end_index": 11}, "lie within the 10 values"),
    ],
)
def test_bad_windows_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        timeseries_dataset_from_array(np.arange(10), None, **options)
