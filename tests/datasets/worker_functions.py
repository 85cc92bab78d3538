"""Functions for worker processes, in a module of its own: a process imports it, and should not import pytest."""

import os
import signal
import time

import numpy as np


def double(x):
    return x * 2, np.full(3, x, np.float32)


def with_pid(x):
    return x, os.getpid()


def fail_at_nine(x):
    if x == 9:
        raise KeyError("nine")
    return x


def die_at_nine(x):
    if x == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def ragged(x):
    return np.full(int(x) % 3, x)


def text(x):
    return b"n%d" % x, x


def slow(x):
    time.sleep(0.01)
    return x


def swap(x, y):
    return y, x


def add_one(x):
    return x + 1
