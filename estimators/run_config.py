"""RunConfig: where and how an Estimator runs; the cluster comes from the environment variable TF_CONFIG."""

from __future__ import annotations

import copy
import json
import os
import warnings
from typing import Any

from lamina.core.checks import check_int, check_number, unknown_arguments
from lamina.core.errors import describe, listing

# What TensorFlow's RunConfig takes and nothing here could act on, with what to do in its place.
_WITHOUT_MEANING = {
    "session_config": "there are no sessions; jax has settings of its own (jax.config)",
    "device_fn": "jax places arrays itself; use jax.default_device",
    "protocol": "processes speak through jax.distributed",
    "train_distribute": "training on several devices is not chosen here",
    "eval_distribute": "evaluation on several devices is not chosen here",
    "experimental_distribute": "training on several devices is not chosen here",
    "experimental_max_worker_delay_secs": "workers start together",
    "session_creation_timeout_secs": "there are no sessions",
    "checkpoint_save_graph_def": "checkpoints hold variables only",
}
_UNSET: Any = object()

_KEEPS_TIME = 600


class TaskType:
    """What a process of a cluster does."""

    CHIEF = "chief"
    MASTER = "master"
    WORKER = "worker"
    PS = "ps"
    EVALUATOR = "evaluator"


class RunConfig:
    """Where and how an Estimator runs.

    Args:
        model_dir: the folder of checkpoints and event files.
        tf_random_seed: the seed of initial weights, shuffles and dropout; None draws one.
        save_summary_steps: steps between the summaries in event files; None or 0 for no summaries.
        save_checkpoints_steps: steps between checkpoints.
        save_checkpoints_secs: seconds between checkpoints; 600 if neither is given. Nothing is saved if both are None
            or 0.
        keep_checkpoint_max: how many of the latest checkpoints are kept; None or 0 keeps all.
        keep_checkpoint_every_n_hours: one checkpoint is kept for good for each stretch of so many hours.
        log_step_count_steps: steps between lines of the log; None for no log.
        **others: arguments of TensorFlow's RunConfig that have no meaning here: each that is not None is told of by a
            warning.

    Raises:
        ValueError: both save_checkpoints_steps and save_checkpoints_secs are given, a number is out of range, or
            TF_CONFIG is not well formed.

    Example:
        >>> config = RunConfig(save_checkpoints_steps=100)
        >>> config.replace(keep_checkpoint_max=2).save_checkpoints_steps
        100
    """

    def __init__(
        self,
        model_dir: str | os.PathLike | None = None,
        tf_random_seed: int | None = None,
        save_summary_steps: int | None = 100,
        save_checkpoints_steps: int | None = _UNSET,
        save_checkpoints_secs: float | None = _UNSET,
        keep_checkpoint_max: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000,
        log_step_count_steps: int | None = 100,
        **others: Any,
    ):
        owner = "RunConfig"
        unknown = [k for k in others if k not in _WITHOUT_MEANING]
        if unknown:
            raise unknown_arguments(owner, unknown, [*_FIELDS, *_WITHOUT_MEANING])
        for name, value in others.items():
            if value is not None:
                warnings.warn(f"RunConfig: {name} has no meaning here: {_WITHOUT_MEANING[name]}.", stacklevel=2)
        if save_checkpoints_steps is _UNSET and save_checkpoints_secs is _UNSET:
            save_checkpoints_steps, save_checkpoints_secs = None, _KEEPS_TIME
        elif save_checkpoints_secs is _UNSET:
            save_checkpoints_secs = None
        elif save_checkpoints_steps is _UNSET:
            save_checkpoints_steps = None
        if save_checkpoints_steps is not None and save_checkpoints_secs is not None:
            raise ValueError(
                f"{owner}: give one of save_checkpoints_steps and save_checkpoints_secs, got {save_checkpoints_steps} "
                f"and {save_checkpoints_secs}."
            )
        if model_dir is not None and not isinstance(model_dir, (str, os.PathLike)):
            raise TypeError(f"{owner}: model_dir must be a path such as 'run', got {describe(model_dir)}.")
        if model_dir == "":
            raise ValueError(f"{owner}: model_dir must not be an empty text. None makes a temporary folder.")
        for name, steps in (
            ("save_summary_steps", save_summary_steps),
            ("save_checkpoints_steps", save_checkpoints_steps),
            ("log_step_count_steps", log_step_count_steps),
        ):
            if steps is not None:
                check_int(owner, name, steps, 1 if name == "log_step_count_steps" else 0)
        if save_checkpoints_secs is not None:
            check_number(owner, "save_checkpoints_secs", save_checkpoints_secs, 0)
        if keep_checkpoint_max is not None:
            check_int(owner, "keep_checkpoint_max", keep_checkpoint_max, 0)
        if not check_number(owner, "keep_checkpoint_every_n_hours", keep_checkpoint_every_n_hours) > 0:
            raise ValueError(f"{owner}: keep_checkpoint_every_n_hours must be above 0.")
        if tf_random_seed is not None:
            check_int(owner, "tf_random_seed", tf_random_seed, 0)
        self.model_dir = None if model_dir is None else os.fspath(model_dir)
        self.tf_random_seed = tf_random_seed
        self.save_summary_steps = save_summary_steps
        self.save_checkpoints_steps = save_checkpoints_steps
        self.save_checkpoints_secs = save_checkpoints_secs
        self.keep_checkpoint_max = keep_checkpoint_max
        self.keep_checkpoint_every_n_hours = keep_checkpoint_every_n_hours
        self.log_step_count_steps = log_step_count_steps
        self._read_cluster()

    def _read_cluster(self) -> None:
        """Takes the cluster, and the task of this process, from TF_CONFIG."""
        text = os.environ.get("TF_CONFIG", "")
        try:
            told = json.loads(text) if text else {}
        except ValueError as error:
            raise ValueError(f"TF_CONFIG must be JSON, got {text!r}: {error}.") from None
        if not isinstance(told, dict):
            raise ValueError(f"TF_CONFIG must be a JSON object with 'cluster' and 'task', got {text!r}.")
        cluster, task = told.get("cluster", {}), told.get("task", {})
        self._read_folder(told)
        self.cluster_spec: dict[str, list[str]] = {k: list(v) for k, v in cluster.items()}
        self.task_type = task.get("type", TaskType.WORKER)
        self.task_id = check_int("TF_CONFIG", "task.index", int(task.get("index", 0)), 0)
        if not cluster:
            if self.task_type != TaskType.WORKER or self.task_id:
                raise ValueError(f"TF_CONFIG: a task such as {task} needs a 'cluster'.")
            self.is_chief, self.num_worker_replicas, self.num_ps_replicas = True, 1, 0
            return
        if sum(len(self.cluster_spec.get(k, ())) for k in (TaskType.CHIEF, TaskType.MASTER)) > 1:
            raise ValueError("TF_CONFIG: the cluster must have one 'chief', or one 'master', only.")
        if self.task_type == TaskType.EVALUATOR:  # stands outside of the cluster
            self.cluster_spec = {}
        if self.task_type != TaskType.EVALUATOR:
            tasks = self.cluster_spec.get(self.task_type)
            if tasks is None:
                raise ValueError(
                    f"TF_CONFIG: the task's type {self.task_type!r} is not in the cluster, which has "
                    f"{listing(list(cluster), 'and')}."
                )
            if self.task_id >= len(tasks):
                raise ValueError(
                    f"TF_CONFIG: the task's index is {self.task_id}, but the cluster has {len(tasks)} of type "
                    f"{self.task_type!r}."
                )
            if TaskType.CHIEF not in cluster and TaskType.MASTER not in cluster:
                raise ValueError("TF_CONFIG: the cluster must have a 'chief'.")
        if "type" not in task or "index" not in task:
            raise ValueError(f"TF_CONFIG: with a cluster, the task must have a 'type' and an 'index', got {task}.")
        self.is_chief = self.task_type in (TaskType.CHIEF, TaskType.MASTER)
        kinds = (TaskType.CHIEF, TaskType.MASTER, TaskType.WORKER)
        self.num_worker_replicas = sum(len(self.cluster_spec.get(k, ())) for k in kinds)
        self.num_ps_replicas = len(self.cluster_spec.get(TaskType.PS, ()))

    def _read_folder(self, told: dict[str, Any]) -> None:
        """Takes the folder from TF_CONFIG."""
        folder = told.get("model_dir")
        if folder is None:
            return
        if folder == "" or self.model_dir not in (None, folder):
            raise ValueError(
                f"TF_CONFIG: model_dir must be a path, and that of the RunConfig ({self.model_dir!r}) if that has one, "
                f"got {folder!r}."
            )
        self.model_dir = str(folder)

    @property
    def global_id_in_cluster(self) -> int | None:
        """The number of this process among all of the cluster: chief, workers, ps; None for the evaluator."""
        if self.task_type == TaskType.EVALUATOR:
            return None
        if self.task_type != TaskType.PS:
            return self.process_id
        return len(self.processes) + self.task_id

    @property
    def processes(self) -> list[str]:
        """The addresses of the processes that train, the chief's first: what `jax.distributed.initialize` counts."""
        kinds = (TaskType.CHIEF, TaskType.MASTER, TaskType.WORKER)
        return [address for k in kinds for address in self.cluster_spec.get(k, ())]

    @property
    def process_id(self) -> int:
        """The number of this process among `processes`; 0 without a cluster."""
        before = 0
        for kind in (TaskType.CHIEF, TaskType.MASTER, TaskType.WORKER):
            if kind == self.task_type:
                return before + self.task_id
            before += len(self.cluster_spec.get(kind, ()))
        return 0

    def replace(self, **changes: Any) -> RunConfig:
        """A copy with fields changed.

        Raises:
            TypeError: there is no such field.
        """
        unknown = [k for k in changes if k not in _FIELDS and k not in _WITHOUT_MEANING]
        if unknown:
            raise unknown_arguments("RunConfig.replace", unknown, _FIELDS)
        fields = {name: getattr(self, name) for name in _FIELDS}
        if changes.get("save_checkpoints_steps") is not None:
            fields["save_checkpoints_secs"] = None
        if changes.get("save_checkpoints_secs") is not None:
            fields["save_checkpoints_steps"] = None
        return RunConfig(**{**fields, **changes})

    def __deepcopy__(self, memo: dict[int, Any]) -> RunConfig:
        return copy.copy(self)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, RunConfig) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.model_dir, self.tf_random_seed, self.save_checkpoints_steps))

    def __repr__(self) -> str:
        return f"RunConfig({', '.join(f'{n}={getattr(self, n)!r}' for n in _FIELDS)})"


_FIELDS = (
    "model_dir",
    "tf_random_seed",
    "save_summary_steps",
    "save_checkpoints_steps",
    "save_checkpoints_secs",
    "keep_checkpoint_max",
    "keep_checkpoint_every_n_hours",
    "log_step_count_steps",
)
