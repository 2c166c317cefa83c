import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import array_api_strict
import numpy as np
import pytest
import threadpoolctl

from iem_xp.threads import Shared, few_threads, usable_cpus


@pytest.fixture
def log():
    return []


@pytest.fixture
def shared(log):
    @contextmanager
    def setting():
        log.append("made")
        yield
        log.append("taken back")

    return Shared(setting)


def test_a_shared_setting_is_made_by_the_first_in_and_taken_back_by_the_last_out(shared, log):
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with shared:
            first_is_in.set()
            second_is_in.wait()
        first_is_out.set()

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait()
    with shared:
        second_is_in.set()
        first_is_out.wait()
        assert log == ["made"]
    thread.join()
    assert log == ["made", "taken back"]


def test_a_shared_setting_can_be_made_again(shared, log):
    for _ in range(2):
        with shared:
            pass
    assert log == ["made", "taken back"] * 2


def test_a_shared_setting_is_taken_back_after_an_error(shared, log):
    with pytest.raises(ZeroDivisionError), shared:
        1 / 0  # noqa: B018
    assert log == ["made", "taken back"]


def test_after_a_setting_that_failed_nobody_is_inside(log):
    @contextmanager
    def setting():
        if not log:
            log.append("failed")
            raise OSError
        log.append("made")
        yield
        log.append("taken back")

    shared = Shared(setting)
    with pytest.raises(OSError), shared:  # noqa: PT011
        pass
    with shared:
        assert log == ["failed", "made"]
    assert log == ["failed", "made", "taken back"]


def blas_threads():
    found = threadpoolctl.threadpool_info()
    return [library["num_threads"] for library in found if library["user_api"] == "blas"]


def test_blas_gets_its_threads_back_however_the_users_of_one_overlap():
    array = np.zeros(1)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = few_threads(array), few_threads(array)
        first.__enter__()
        assert set(blas_threads()) == {1}
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before


def test_other_libraries_leave_blas_alone():
    before = blas_threads()
    with few_threads(array_api_strict.asarray([1.0])):
        assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be taken away here")
def test_only_cpus_that_may_be_used_count():
    assert usable_cpus() == len(os.sched_getaffinity(0))
    code = (
        "import os; from iem_xp.threads import usable_cpus; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"1\n"
