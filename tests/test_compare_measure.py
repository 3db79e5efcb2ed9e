"""Measuring many files: what a kill leaves, how memory grows, and how long tables take."""

import os
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from compare_workspace import write_mask
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_prosma.compare.cache import Cache, fingerprint
from nnunet_prosma.compare.measure import Task, measure_all
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.measured import measure

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from nnunet_prosma.compare import measure
whole, calls = measure.measure, []
def dying(task):
    calls.append(task)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(task)
measure.measure = dying
from pathlib import Path
from test_compare_measure import tasks_in
measure.measure_all(tasks_in(Path({root!r}), 5), measure.Cache(Path({root!r}) / "cache.jsonl"), workers=1)
"""


def tasks_in(root, cases, size=8):
    """A prediction equal to its truth for each case; the files are made where they are missing."""
    made = []
    for number in range(cases):
        truth, prediction = (root / folder / f"{number}.nii.gz" for folder in ("truth", "prediction"))
        for path in (truth, prediction):
            if not path.is_file():
                mask = np.zeros((size,) * 3)
                mask[2:-2, 2:-2, 2:-2] = 1
                write_mask(path, mask)
        made.append(Task(0, str(number), truth, prediction, SimpleITKIO(), {1: 1.0}, None))
    return made


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    tasks = tasks_in(tmp_path, 5)
    script = KILLED.format(tests=os.path.dirname(__file__), root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    cache = Cache(tmp_path / "cache.jsonl")
    assert [cache.get(task.key) is not None for task in tasks] == [True, True, False, False, False]
    outcomes = measure_all(tasks, cache, workers=1)
    assert all(outcome.measured["1"]["nsd"] == 1 for outcome in outcomes.values())
    assert len(cache.path.read_text().splitlines()) == 5


class Deadly:
    """A reader at whose work the system kills the process, as it does where memory runs out."""

    def read_seg(self, file):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_ends_the_measuring_of_predictions_with_a_sentence(tmp_path, monkeypatch):
    tasks_in(tmp_path, 2)
    content = {"labels": {"background": 0, "rod": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
    monkeypatch.setattr("nnunet_prosma.host.measured.reader_for", lambda *_: Deadly())
    with pytest.raises(InputError, match="a worker was killed, most likely for want of memory: use a smaller -np"):
        measure(tmp_path / "prediction", tmp_path / "truth", Dataset.of(content, "dataset.json"), 2)


def test_what_is_damaged_in_the_cache_is_measured_again(tmp_path):
    tasks = tasks_in(tmp_path, 5)
    cache = Cache(tmp_path / "cache.jsonl")
    for task, damaged in zip(tasks, (5, {}, {"1": 3}, {"1": {"dice": 1}}, {"2": {}}), strict=True):
        cache.put(task.key, damaged)
    outcomes = measure_all(tasks, Cache(cache.path), workers=1)
    assert all(outcome.measured["1"]["nsd"] == 1 for outcome in outcomes.values())
    again = Cache(cache.path)
    assert all(again.get(task.key) == outcomes[0, task.case].measured for task in tasks)


def test_memory_does_not_grow_with_the_number_of_cases(tmp_path):
    def peak(cases):
        tasks = tasks_in(tmp_path, cases, size=48)
        cache = Cache(tmp_path / f"{cases}.jsonl")
        tracemalloc.start()
        measure_all(tasks, cache, workers=1)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1)  # imports
    assert peak(12) < 1.2 * peak(3)


def test_a_changed_file_is_another_one(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    before, changed = fingerprint([file], 1), file.stat().st_mtime_ns
    assert fingerprint([file], 1) == before
    assert fingerprint([file], 2) != before
    file.write_text("other")
    assert fingerprint([file], 1) != before
    file.write_text("two")  # of the same size, a second later
    os.utime(file, ns=(0, changed + 1_000_000_000))
    assert fingerprint([file], 1) != before
