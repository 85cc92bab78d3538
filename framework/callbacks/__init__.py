"""Callbacks: code that a run calls at its start and end, and those of its epochs and batches."""

from lamina.callbacks.backup_and_restore import BackupAndRestore
from lamina.callbacks.batch_size_finder import BatchSizeFinder
from lamina.callbacks.callback import Callback, CallbackList
from lamina.callbacks.csv_logger import CSVLogger
from lamina.callbacks.early_stopping import EarlyStopping
from lamina.callbacks.history import History
from lamina.callbacks.lambda_callback import LambdaCallback
from lamina.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from lamina.callbacks.learning_rate_finder import LearningRateFinder
from lamina.callbacks.mlflow import MLflowLogger
from lamina.callbacks.model_checkpoint import ModelCheckpoint
from lamina.callbacks.model_export import ModelExport
from lamina.callbacks.monitor import MonitorCallback
from lamina.callbacks.progress import ProgbarLogger
from lamina.callbacks.progress_plot import ProgressPlot
from lamina.callbacks.remote_monitor import RemoteMonitor
from lamina.callbacks.stochastic_weight_averaging import StochasticWeightAveraging
from lamina.callbacks.swap_ema_weights import SwapEMAWeights
from lamina.callbacks.tensorboard import TensorBoard
from lamina.callbacks.terminate_on_nan import TerminateOnNaN
from lamina.callbacks.timer import Timer
from lamina.callbacks.wandb import WandbLogger

__all__ = [
    "BackupAndRestore",
    "BatchSizeFinder",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateScheduler",
    "MLflowLogger",
    "ModelCheckpoint",
    "ModelExport",
    "MonitorCallback",
    "ProgbarLogger",
    "ProgressPlot",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "StochasticWeightAveraging",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
    "Timer",
    "WandbLogger",
]
