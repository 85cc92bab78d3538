"""Threads and processes: the same elements in the same order, errors with their place, and nothing left behind."""

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from dataset_pipelines import check_resume, same_all, take
from worker_functions import add_one, die_at_nine, double, fail_at_nine, ragged, slow, swap, text, with_pid

from lamina.datasets import AUTOTUNE, Dataset, Options
from lamina.datasets.processes import WorkerDied

processes = pytest.mark.skipif(os.name != "posix", reason="signals and /proc are POSIX's")


def options(**values):
    out = Options()
    for key, value in values.items():
        setattr(out, key, value)
    return out


PROCESSES = options(workers="process")


def lamina_threads():
    return [t for t in threading.enumerate() if t.name.startswith("lamina")]


def children():
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                found.append(int(entry))
    return found


def shared_files():
    return {f for f in os.listdir("/dev/shm") if f.startswith("lamina-")} if os.path.isdir("/dev/shm") else set()


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("workers", [1, 2, 5, AUTOTUNE])
@pytest.mark.parametrize("batched", [False, True])
def test_the_order_does_not_depend_on_the_number_of_threads(workers, batched):
    def build(calls):
        dataset = Dataset.range(50).shuffle(None, seed=4).map(double, num_parallel_calls=calls).repeat(2)
        return dataset.batch(7) if batched else dataset

    assert same_all(list(build(workers)), list(build(None)))


def test_free_order_gives_every_element_once():
    def uneven(x):
        time.sleep(0.002 * (x % 3))
        return x

    dataset = Dataset.range(30).map(uneven, num_parallel_calls=3, deterministic=False)
    assert sorted(dataset) == list(range(30))
    dataset = Dataset.range(30).filter(lambda x: True).map(uneven, num_parallel_calls=3)
    assert sorted(dataset.with_options(options(deterministic=False))) == list(range(30))


@pytest.mark.parametrize("indexed", [True, False])
def test_resume_with_free_order_loses_and_repeats_nothing(indexed):
    def uneven(x):
        time.sleep(0.003 * (x % 4 == 0))
        return x

    def build():
        source = Dataset.range(24) if indexed else Dataset.range(24).filter(lambda x: True)
        return source.map(uneven, num_parallel_calls=3, deterministic=False)

    for position in range(0, 25, 3):
        iterator = iter(build())
        first = take(iterator, position)
        state = json.loads(json.dumps(iterator.get_state()))
        iterator.close()
        again = iter(build())
        again.set_state(state)
        assert sorted(first + list(again)) == list(range(24))


def test_an_error_in_a_thread_names_stage_and_element():
    dataset = Dataset.range(20).map(fail_at_nine, num_parallel_calls=3, name="decode")
    iterator = iter(dataset)
    assert take(iterator, 9) == list(range(9))
    with pytest.raises(KeyError) as e:
        next(iterator)
    assert any("map 'decode'" in note and "element 9" in note for note in e.value.__notes__)
    assert e.traceback[-1].name == "fail_at_nine"
    assert take(iterator, 20) == list(range(10, 20))


def test_a_failed_batch_goes_on_behind_the_element_at_fault():
    for calls in (None, 3):
        dataset = Dataset.range(16).map(fail_at_nine, num_parallel_calls=calls).batch(4).ignore_errors()
        assert [b.tolist() for b in dataset] == [[0, 1, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13], [14, 15]]


def test_stop_iteration_in_a_function_does_not_end_the_loop():
    def stop(x):
        raise StopIteration

    for dataset in (Dataset.range(5).map(stop), Dataset.range(5).map(stop).batch(2), Dataset.range(5).filter(stop)):
        with pytest.raises(RuntimeError, match="StopIteration"):
            list(dataset)


def test_an_abandoned_iterator_stops_its_threads():
    before = set(lamina_threads())
    iterator = iter(Dataset.range(10**6).map(slow, num_parallel_calls=4).prefetch(4).batch(2))
    next(iterator)
    assert len(set(lamina_threads()) - before) >= 2
    del iterator
    assert wait_until(lambda: not set(lamina_threads()) - before)


def test_threads_end_with_the_elements():
    before = set(lamina_threads())
    list(Dataset.range(30).map(double, num_parallel_calls=4).batch(4).prefetch(2))
    list(Dataset.range(4).interleave(lambda n: Dataset.range(n), num_parallel_calls=3))
    assert wait_until(lambda: not set(lamina_threads()) - before)


def test_prefetch_under_autotune_keeps_its_budget():
    size = 1 << 20
    limit = 5 * size
    dataset = Dataset.range(60).map(lambda x: np.full(size, x, np.uint8)).prefetch(AUTOTUNE)
    opts = Options()
    opts.autotune.ram_budget = limit
    iterator = iter(dataset.with_options(opts))
    largest = 0
    for k, element in enumerate(iterator):
        time.sleep(0.001)
        largest = max(largest, iterator._run.budget.used)
        assert element[0] == k
    assert 0 < largest <= limit
    assert iterator._run.budget.used == 0


def test_prefetch_makes_elements_ahead():
    made = []
    iterator = iter(Dataset.range(100).map(lambda x: made.append(int(x)) or x).prefetch(3))
    next(iterator)
    assert wait_until(lambda: len(made) >= 4)
    time.sleep(0.05)
    assert len(made) == 4


def test_autotune_leaves_a_cheap_function_in_the_calling_thread():
    names = set()

    def f(x):
        names.add(threading.current_thread().name)
        return x

    list(Dataset.range(300).map(f, num_parallel_calls=AUTOTUNE))
    assert names == {threading.current_thread().name}


@processes
class TestProcesses:
    @pytest.mark.parametrize("function, workers", [(double, 2), (text, 1)])
    def test_same_elements_as_in_this_process(self, function, workers):
        def build(*more):
            dataset = Dataset.range(40).shuffle(None, seed=2).map(function, num_parallel_calls=workers)
            return dataset.map(swap, num_parallel_calls=workers).batch(6).with_options(options(*more))

        assert same_all(list(build().with_options(PROCESSES)), list(build()))

    @pytest.mark.parametrize(
        "build",
        [
            lambda: Dataset.range(40).map(ragged, num_parallel_calls=2),
            lambda: Dataset.range(40).filter(lambda x: x % 2 == 0).map(double, num_parallel_calls=2),
            lambda: Dataset.from_source([[i, i] for i in range(20)]).map(add_one, num_parallel_calls=1).batch(3),
        ],
        ids=["elements", "stream", "not indexable"],
    )
    def test_element_by_element_and_from_streams(self, build):
        assert same_all(list(build().with_options(PROCESSES)), list(build()))

    def test_resume(self):
        def build():
            return Dataset.range(20).map(double, num_parallel_calls=2).repeat(2).with_options(PROCESSES)

        dataset = build()  # one pool for all: it waits for the next pass
        whole = check_resume(lambda: dataset, limit=99, every=9)
        batches = dataset.batch(6)
        check_resume(lambda: batches, limit=99, every=3)
        iterator = iter(dataset)
        take(iterator, 23)
        again = iter(build())
        again.set_state(json.loads(json.dumps(iterator.get_state())))
        assert same_all(list(again), whole[23:])

    def test_processes_start_once_not_per_pass(self):
        dataset = Dataset.range(24).map(with_pid, num_parallel_calls=2).batch(4).with_options(PROCESSES)
        passes = [dataset, dataset, dataset.prefetch(2).take(3), dataset]  # one ends early
        found = [{int(p) for _, pids in d for p in pids} for d in passes]
        assert len(set.union(*found)) <= 2 and os.getpid() not in found[0]
        assert len(children()) == 2
        del dataset, passes
        assert wait_until(lambda: not children())

    def test_an_abandoned_iterator_ends_its_processes(self):
        dataset = Dataset.range(10**6).map(slow, num_parallel_calls=2).batch(2).prefetch(2).with_options(PROCESSES)
        iterator = iter(dataset)
        next(iterator)
        assert len(children()) == 2
        start = time.monotonic()
        del iterator
        assert wait_until(lambda: not children())
        assert time.monotonic() - start < 2
        assert wait_until(lambda: not lamina_threads())

    def test_an_error_arrives_with_traceback_and_element(self):
        iterator = iter(Dataset.range(20).map(fail_at_nine, num_parallel_calls=2).batch(4).with_options(PROCESSES))
        assert len(take(iterator, 2)) == 2
        with pytest.raises(KeyError, match="nine") as e:
            next(iterator)
        notes = "\n".join(e.value.__notes__)
        assert "fail_at_nine" in notes and "element 9" in notes
        assert next(iterator).tolist() == [10, 11, 12, 13]

    def test_a_killed_worker_is_an_error_and_leaves_nothing(self):
        before = shared_files()
        iterator = iter(Dataset.range(20).map(die_at_nine, num_parallel_calls=2).batch(4).with_options(PROCESSES))
        assert len(take(iterator, 2)) == 2
        with pytest.raises(WorkerDied, match="SIGKILL.*element 8"):
            next(iterator)
        assert next(iterator).tolist() == [12, 13, 14, 15]
        assert shared_files() <= before  # not even while it runs, so nothing is left however it ends

    def test_a_function_that_cannot_be_sent(self):
        lock = threading.Lock()
        with pytest.raises(TypeError, match="cannot be sent to a worker process"):
            list(Dataset.range(3).map(lambda x: (x, lock), num_parallel_calls=2).with_options(PROCESSES))


@processes
@pytest.mark.parametrize("workers", ["thread", "process"])
def test_ctrl_c_ends_the_program(tmp_path, workers):
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(f"""
        import time
        from lamina.datasets import Dataset, Options

        def slow(x):
            time.sleep(0.05)
            return x

        if __name__ == "__main__":
            options = Options()
            options.workers = {workers!r}
            dataset = Dataset.range(10**6).map(slow, num_parallel_calls=2).batch(4).prefetch(2).with_options(options)
            for i, batch in enumerate(dataset):
                print(i, flush=True)
        """)
    )
    program = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert program.stdout.readline() == "0\n"
    os.killpg(program.pid, signal.SIGINT)
    start = time.monotonic()
    _, errors = program.communicate(timeout=20)
    assert time.monotonic() - start < 10
    assert program.returncode != 0 and "KeyboardInterrupt" in errors
