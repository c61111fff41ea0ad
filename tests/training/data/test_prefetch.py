"""Batches ahead: in order, on time, with their errors, and no thread stays behind."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from gh_tools.training.data.prefetch import prefetch


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_results_come_in_order_and_no_further_ahead_than_asked():
    made: list[int] = []

    def make(item):
        made.append(item)
        return -item

    for taken, result in enumerate(prefetch(make, range(20), n_ahead=3)):
        assert result == -taken
        assert len(made) <= taken + 1 + 3
    assert made == list(range(20))
    assert threads() == []


def test_the_next_is_made_while_the_present_one_is_used():
    begun = [threading.Event() for _ in range(3)]

    def make(item):
        begun[item].set()
        return threading.current_thread()

    with closing(prefetch(make, range(3))) as results:
        assert next(results) is not threading.current_thread()
        assert begun[1].wait(timeout=10)


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_an_error_reaches_the_caller_behind_what_came_before(error):
    def make(item):
        if item == 2:
            raise error
        return item

    results = prefetch(make, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(type(error)):
        next(results)
    assert threads() == []


def test_no_thread_stays_where_the_caller_leaves():
    made: list[int] = []
    with pytest.raises(KeyboardInterrupt), closing(prefetch(made.append, range(100))) as results:
        next(results)
        raise KeyboardInterrupt
    assert threads() == []
    assert len(made) < 5
