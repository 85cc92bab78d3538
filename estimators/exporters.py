"""Exporters: when `train_and_evaluate` exports a model, and which exports are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from lamina.core.checks import check_int
from lamina.core.errors import describe


class Exporter:
    """The base of exporters.

    A subclass has a `name`, by which its folder is called, and `export`.
    """

    name: str

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> str | None:
        """Exports the model, or not; returns the folder of the export."""
        raise NotImplementedError


class _Saves(Exporter):
    """What the exporters here have in common.

    Args:
        name: the name.
        serving_input_receiver_fn: see `Estimator.export_saved_model`.
        assets_extra: files to add, by their name in the export.
        as_text: whether the graph is written as text.
    """

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any] | None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
    ):
        if not isinstance(name, str) or not name:
            raise ValueError(f"{type(self).__name__}: name must be a text, got {describe(name)}.")
        if serving_input_receiver_fn is not None and not callable(serving_input_receiver_fn):
            raise TypeError(
                f"{type(self).__name__}: serving_input_receiver_fn must be a function, got "
                f"{describe(serving_input_receiver_fn)}."
            )
        self.name = name
        self._receiver, self._assets, self._as_text = serving_input_receiver_fn, assets_extra, as_text

    def _save(self, estimator: Any, export_path: str, checkpoint_path: str) -> str:
        if not hasattr(estimator, "export_saved_model"):
            raise NotImplementedError(f"{type(self).__name__}: {type(estimator).__name__} cannot be exported.")
        return estimator.export_saved_model(
            export_path,
            self._receiver,
            assets_extra=self._assets,
            as_text=self._as_text,
            checkpoint_path=checkpoint_path,
        )

    @staticmethod
    def _keep(folder: str, count: int | None) -> None:
        """Removes the oldest exports of a folder."""
        if count is None or not os.path.isdir(folder):
            return
        exports = sorted(n for n in os.listdir(folder) if n.isdigit())
        for name in exports[: max(len(exports) - count, 0)]:
            shutil.rmtree(os.path.join(folder, name))


class FinalExporter(_Saves):
    """Exports once, when training has ended.

    Args:
        name: the name.
        serving_input_receiver_fn: see `Estimator.export_saved_model`.
        assets_extra: files to add, by their name in the export.
        as_text: whether the graph is written as text.
    """

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> str | None:
        """Exports at the end."""
        return self._save(estimator, export_path, checkpoint_path) if is_the_final_export else None


class LatestExporter(_Saves):
    """Exports after each evaluation, and keeps the latest exports.

    Args:
        name: the name.
        serving_input_receiver_fn: see `Estimator.export_saved_model`.
        assets_extra: files to add, by their name in the export.
        as_text: whether the graph is written as text.
        exports_to_keep: how many are kept; None for all.
    """

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any] | None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        exports_to_keep: int | None = 5,
    ):
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text)
        if exports_to_keep is not None:
            check_int("LatestExporter", "exports_to_keep", exports_to_keep, 1)
        self._count = exports_to_keep

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> str | None:
        """Exports, and removes old exports."""
        path = self._save(estimator, export_path, checkpoint_path)
        self._keep(export_path, self._count)
        return path


def loss_smaller(best_eval_result: Mapping[str, Any], current_eval_result: Mapping[str, Any]) -> bool:
    """Whether the loss of the current results is below that of the best."""
    for what, results in (("best_eval_result", best_eval_result), ("current_eval_result", current_eval_result)):
        if not results or "loss" not in results:
            raise ValueError(f"BestExporter: {what} must have a loss, got {describe(results)}. Give compare_fn=.")
    return float(current_eval_result["loss"]) < float(best_eval_result["loss"])


class BestExporter(_Saves):
    """Exports when an evaluation is better than all before it.

    Args:
        name: the name.
        serving_input_receiver_fn: see `Estimator.export_saved_model`.
        event_file_pattern: taken for TensorFlow's sake: the best results so far lie in the export's folder.
        compare_fn: `compare_fn(best_eval_result, current_eval_result)`, whether the current one is better; by default
            whether its loss is smaller.
        assets_extra: files to add, by their name in the export.
        as_text: whether the graph is written as text.
        exports_to_keep: how many are kept; None for all.
    """

    def __init__(
        self,
        name: str = "best_exporter",
        serving_input_receiver_fn: Callable[[], Any] | None = None,
        event_file_pattern: str | None = None,
        compare_fn: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = loss_smaller,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        exports_to_keep: int | None = 5,
    ):
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text)
        if not callable(compare_fn):
            raise TypeError(f"BestExporter: compare_fn must be a function, got {describe(compare_fn)}.")
        if exports_to_keep is not None:
            check_int("BestExporter", "exports_to_keep", exports_to_keep, 1)
        self._compare, self._count = compare_fn, exports_to_keep
        self._best: dict[str, Any] | None = None

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> str | None:
        """Exports, if the results are the best so far."""
        if self._best is not None and not self._compare(self._best, eval_result):
            return None
        self._best = dict(eval_result)
        path = self._save(estimator, export_path, checkpoint_path)
        self._keep(export_path, self._count)
        return path
