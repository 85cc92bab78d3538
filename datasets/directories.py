"""Datasets over folders of images, sounds and texts, with one folder for each class."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina.core.checks import check_choice, check_int, check_ints
from lamina.core.errors import listing
from lamina.core.settings import image_data_format
from lamina.datasets.audio import decode_wav, resample
from lamina.datasets.dataset import Dataset
from lamina.datasets.images import CHANNELS, decode_image, fit_image, pillow
from lamina.datasets.resize import INTERPOLATIONS
from lamina.datasets.spec import AUTOTUNE, STRING, TensorSpec

IMAGE_FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
LABEL_MODES = ("int", "categorical", "binary", None)


def image_dataset_from_directory(
    directory: str | os.PathLike,
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    verbose: bool = True,
) -> Dataset | tuple[Dataset, Dataset]:
    """Images of a folder with one subfolder a class, as batches of `(images, labels)`.

    The Dataset has the attributes `class_names` and `file_paths`.

    Shape:
        images `(batch, *image_size, channels)`, float32 from 0 to 255; labels `(batch,)` int32, `(batch, classes)`
        float32 for `"categorical"`, `(batch, 1)` float32 for `"binary"`.

    Args:
        directory: The folder.
        labels: `"inferred"` from the subfolders, None, or an integer for each file in alphabetical order.
        label_mode: `"int"`, `"categorical"` (one-hot), `"binary"` (two classes), or None for images alone.
        class_names: The subfolders to use, in the order of their labels; None for all in alphabetical order.
        color_mode: `"grayscale"`, `"rgb"` or `"rgba"`.
        batch_size: Images in a batch; None for single images.
        image_size: Height and width to which images are resized.
        shuffle: Whether the images come in another order each epoch.
        seed: Of the order.
        validation_split: The share of the files that is set aside, 0 to 1.
        subset: `"training"`, `"validation"`, or `"both"` for a tuple of the two; with `validation_split`.
        interpolation: `"bilinear"`, `"nearest"`, `"bicubic"`, `"area"`, `"lanczos3"`, `"lanczos5"`, `"gaussian"` or
            `"mitchellcubic"`.
        follow_links: Whether links to folders are followed.
        crop_to_aspect_ratio: Whether the middle of an image is cut out instead of distorting it.
        pad_to_aspect_ratio: Whether an image gets black borders instead of distorting it.
        data_format: `"channels_last"` or `"channels_first"`; None for the global setting.
        verbose: Whether the numbers of files and classes are printed.

    Raises:
        ValueError: an argument is out of range, or there is no file.
        DataLossError: while reading, a file is no readable image; the message names it.
        ImportError: Pillow is not installed.
    """
    owner = "image_dataset_from_directory"
    pillow()
    check_choice(owner, "color_mode", color_mode, CHANNELS)
    check_choice(owner, "interpolation", interpolation, INTERPOLATIONS)
    layout = image_data_format() if data_format is None else data_format
    check_choice(owner, "data_format", layout, ("channels_last", "channels_first"))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(f"{owner}: crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other.")
    size = check_ints(owner, "image_size", tuple(image_size), 2, 1)
    channels = CHANNELS[color_mode]
    shape = (*size, channels) if layout == "channels_last" else (channels, *size)
    read = functools.partial(
        _read_image,
        color_mode=color_mode,
        size=size,
        interpolation=interpolation,
        crop=crop_to_aspect_ratio,
        pad=pad_to_aspect_ratio,
        channels_first=layout == "channels_first",
    )
    index = _Index(owner, directory, labels, label_mode, class_names, IMAGE_FORMATS, follow_links)
    make = functools.partial(_dataset, index, read, TensorSpec(shape, np.float32), batch_size, shuffle, seed)
    return _datasets(index, make, shuffle, seed, validation_split, subset, verbose)


def audio_dataset_from_directory(
    directory: str | os.PathLike,
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Dataset | tuple[Dataset, Dataset]:
    """Sounds (WAV files) of a folder with one subfolder a class, as batches of `(sounds, labels)`.

    The Dataset has the attributes `class_names` and `file_paths`.

    Shape:
        sounds `(batch, samples, channels)`, float32 from -1 to 1, padded with silence to the longest of the batch;
        labels as in `image_dataset_from_directory`.

    Args:
        directory: The folder.
        labels: `"inferred"` from the subfolders, None, or an integer for each file in alphabetical order.
        label_mode: `"int"`, `"categorical"` (one-hot), `"binary"` (two classes), or None for sounds alone.
        class_names: The subfolders to use, in the order of their labels; None for all in alphabetical order.
        batch_size: Sounds in a batch; None for single sounds.
        sampling_rate: Samples in a second to which sounds are brought; None leaves them as they are.
        output_sequence_length: Samples to which sounds are cut or padded; None for their own length.
        ragged: Must be False: there are no ragged arrays, batches are padded.
        shuffle: Whether the sounds come in another order each epoch.
        seed: Of the order.
        validation_split: The share of the files that is set aside, 0 to 1.
        subset: `"training"`, `"validation"`, or `"both"` for a tuple of the two; with `validation_split`.
        follow_links: Whether links to folders are followed.
        verbose: Whether the numbers of files and classes are printed.

    Raises:
        ValueError: an argument is out of range, or there is no file.
        DataLossError: while reading, a file is no WAV file; the message names it.
    """
    owner = "audio_dataset_from_directory"
    if ragged:
        raise ValueError(f"{owner}: ragged=True is not supported; batches are padded to their longest sound.")
    if sampling_rate is not None:
        check_int(owner, "sampling_rate", sampling_rate, 1)
    if output_sequence_length is not None:
        check_int(owner, "output_sequence_length", output_sequence_length, 1)
    read = functools.partial(_read_sound, rate=sampling_rate, length=output_sequence_length)
    index = _Index(owner, directory, labels, label_mode, class_names, (".wav",), follow_links)
    spec = TensorSpec((output_sequence_length, None), np.float32)
    make = functools.partial(_dataset, index, read, spec, batch_size, shuffle, seed)
    return _datasets(index, make, shuffle, seed, validation_split, subset, verbose)


def text_dataset_from_directory(
    directory: str | os.PathLike,
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Dataset | tuple[Dataset, Dataset]:
    """Text files (`.txt`) of a folder with one subfolder a class, as batches of `(texts, labels)`.

    The Dataset has the attributes `class_names` and `file_paths`.

    Shape:
        texts `(batch,)`, byte strings; labels as in `image_dataset_from_directory`.

    Args:
        directory: The folder.
        labels: `"inferred"` from the subfolders, None, or an integer for each file in alphabetical order.
        label_mode: `"int"`, `"categorical"` (one-hot), `"binary"` (two classes), or None for texts alone.
        class_names: The subfolders to use, in the order of their labels; None for all in alphabetical order.
        batch_size: Texts in a batch; None for single texts.
        max_length: Bytes to which texts are cut; None for all of them.
        shuffle: Whether the texts come in another order each epoch.
        seed: Of the order.
        validation_split: The share of the files that is set aside, 0 to 1.
        subset: `"training"`, `"validation"`, or `"both"` for a tuple of the two; with `validation_split`.
        follow_links: Whether links to folders are followed.
        verbose: Whether the numbers of files and classes are printed.

    Raises:
        ValueError: an argument is out of range, or there is no file.
    """
    owner = "text_dataset_from_directory"
    if max_length is not None:
        check_int(owner, "max_length", max_length, 1)
    read = functools.partial(_read_text, length=max_length)
    index = _Index(owner, directory, labels, label_mode, class_names, (".txt",), follow_links)
    make = functools.partial(_dataset, index, read, TensorSpec((), STRING), batch_size, shuffle, seed)
    return _datasets(index, make, shuffle, seed, validation_split, subset, verbose)


def _read_image(
    path: str, color_mode: str, size: Any, interpolation: str, crop: bool, pad: bool, channels_first: bool
) -> Any:
    image = fit_image(decode_image(Path(path).read_bytes(), path, color_mode), size, interpolation, crop, pad)
    return np.ascontiguousarray(image.transpose(2, 0, 1)) if channels_first else image


def _read_sound(path: str, rate: int | None, length: int | None) -> np.ndarray:
    samples, stored = decode_wav(Path(path).read_bytes(), path)
    if rate is not None:
        samples = resample(samples, stored, rate)
    if length is not None:
        samples = np.pad(samples[:length], ((0, max(0, length - len(samples))), (0, 0)))
    return samples


def _read_text(path: str, length: int | None) -> bytes:
    with open(path, "rb") as file:
        return file.read() if length is None else file.read(length)


class _Files(NamedTuple):
    paths: list[str]
    labels: np.ndarray | None


class _Index:
    """The files of a folder with their labels."""

    def __init__(
        self,
        owner: str,
        directory: str | os.PathLike,
        labels: str | Sequence[int] | None,
        label_mode: str | None,
        class_names: Sequence[str] | None,
        formats: tuple[str, ...],
        follow_links: bool,
    ) -> None:
        self.owner = owner
        self.label_mode = check_choice(owner, "label_mode", label_mode, LABEL_MODES)
        self.class_names: list[str] | None
        root = os.fspath(directory)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"{owner}: there is no folder '{root}'.")
        if labels == "inferred":
            folders = _class_folders(owner, root, class_names)
            by_class = [_walk(os.path.join(root, folder), formats, follow_links) for folder in folders]
            numbers: Any = np.repeat(np.arange(len(folders), dtype=np.int32), [len(paths) for paths in by_class])
            self.class_names = folders
            paths = [path for paths in by_class for path in paths]
        elif class_names is not None:
            raise ValueError(f"{owner}: class_names goes with labels='inferred' only.")
        else:
            paths = _walk(root, formats, follow_links)
            numbers = None if labels is None else _given_labels(owner, labels, paths, root)
            self.class_names = None if labels is None else [str(label) for label in sorted(set(numbers.tolist()))]
        if not paths:
            raise ValueError(f"{owner}: there is no file with the ending {listing(formats)} in '{root}'.")
        self.files = _Files(paths, numbers if label_mode is not None else None)
        if label_mode == "binary" and self.files.labels is not None and len(self.class_names or ()) != 2:
            raise ValueError(f"{owner}: label_mode='binary' needs two classes, there are {self.class_names}.")

    def encoded(self, labels: np.ndarray | None) -> np.ndarray | None:
        """The labels as `label_mode` wants them."""
        if labels is None or self.label_mode == "int":
            return labels
        if self.label_mode == "binary":
            return labels.astype(np.float32)[:, None]
        classes = len(self.class_names or ())
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(
                f"{self.owner}: for label_mode='categorical' the {classes} labels must be 0 to {classes - 1}, "
                f"got {self.class_names}."
            )
        return np.eye(classes, dtype=np.float32)[labels]


def _class_folders(owner: str, root: str, class_names: Sequence[str] | None) -> list[str]:
    found = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if class_names is None:
        return found
    if unknown := [name for name in class_names if name not in found]:
        raise ValueError(
            f"{owner}: class_names must name subfolders of '{root}' ({listing(found, 'and')}), got {unknown}."
        )
    return list(class_names)


def _given_labels(owner: str, labels: Any, paths: list[str], root: str) -> np.ndarray:
    if isinstance(labels, str):
        raise ValueError(f"{owner}: labels must be 'inferred', None or a list of integers, got {labels!r}.")
    numbers = np.asarray(labels)
    if numbers.dtype.kind not in "iu" or numbers.shape != (len(paths),):
        raise ValueError(
            f"{owner}: labels must hold an integer for each of the {len(paths)} files in '{root}', got an array of "
            f"shape {numbers.shape} and dtype {numbers.dtype}."
        )
    return numbers.astype(np.int32)


def _walk(folder: str, formats: tuple[str, ...], follow_links: bool) -> list[str]:
    paths = []
    for place, _, names in sorted(os.walk(folder, followlinks=follow_links)):
        paths += [os.path.join(place, name) for name in sorted(names) if name.lower().endswith(formats)]
    return paths


def _datasets(
    index: _Index,
    make: Callable[[_Files], Dataset],
    shuffle: bool,
    seed: int | None,
    validation_split: float | None,
    subset: str | None,
    verbose: bool,
) -> Any:
    owner, files = index.owner, index.files
    if validation_split is not None and not 0 < validation_split < 1:
        raise ValueError(f"{owner}: validation_split must lie between 0 and 1, got {validation_split}.")
    if (validation_split is None) != (subset is None):
        raise ValueError(f"{owner}: validation_split and subset must be given together.")
    check_choice(owner, "subset", subset, ("training", "validation", "both", None))
    if validation_split is not None and shuffle and seed is None:
        raise ValueError(f"{owner}: validation_split with shuffle=True needs a seed, or the two subsets would overlap.")
    if verbose:
        classes = "" if files.labels is None else f" belonging to {len(index.class_names or ())} classes"
        print(f"Found {len(files.paths)} files{classes}.")
    if shuffle and seed is not None:
        order = np.random.RandomState(seed).permutation(len(files.paths))
        files = _Files([files.paths[i] for i in order], None if files.labels is None else files.labels[order])
    if subset is None:
        return make(files)
    cut = len(files.paths) - int(len(files.paths) * validation_split)  # type: ignore[operator]
    parts = {"training": slice(0, cut), "validation": slice(cut, None)}
    chosen = parts if subset == "both" else {subset: parts[subset]}
    made = []
    for name, rows in chosen.items():
        part = _Files(files.paths[rows], None if files.labels is None else files.labels[rows])
        if not part.paths:
            raise ValueError(f"{owner}: no file is left for the {name} subset; change validation_split.")
        if verbose:
            print(f"Using {len(part.paths)} files for {name}.")
        made.append(make(part))
    return tuple(made) if subset == "both" else made[0]


def _dataset(
    index: _Index,
    read: Callable[[str], Any],
    spec: TensorSpec,
    batch_size: int | None,
    shuffle: bool,
    seed: int | None,
    files: _Files,
) -> Dataset:
    paths = np.array([os.fsencode(path) for path in files.paths], STRING)
    labels = index.encoded(files.labels)
    dataset = Dataset.from_tensor_slices(paths if labels is None else (paths, labels))
    if shuffle:
        dataset = dataset.shuffle(None, seed=seed)
    signature = spec if labels is None else (spec, TensorSpec(labels.shape[1:], labels.dtype))
    dataset = dataset.map(functools.partial(_load, read), num_parallel_calls=AUTOTUNE, output_signature=signature)
    if batch_size is not None:
        varying = spec.shape is None or None in spec.shape[:1]  # sounds of different lengths
        dataset = dataset.padded_batch(batch_size) if varying else dataset.batch(batch_size)
    dataset = dataset.prefetch(AUTOTUNE)
    dataset.class_names = index.class_names
    dataset.file_paths = files.paths
    return dataset


def _load(read: Callable[[str], Any], path: Any, *label: Any) -> Any:
    content = read(os.fsdecode(path))
    return (content, *label) if label else content
