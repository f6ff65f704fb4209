"""What differs by system: the parts that can be seen from inside one process."""

import os
import threading

import pytest

from trimtab.serve import platform


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system has no such scheduling policy")
def test_batch_scheduling_holds_for_the_thread_and_those_it_starts():
    seen = []

    def inner() -> None:
        seen.append(os.sched_getscheduler(0))

    def outer() -> None:
        seen.append(platform.schedule_in_batches())
        child = threading.Thread(target=inner)
        child.start()
        child.join()

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    assert seen == [True, os.SCHED_BATCH]
