"""Exponential backoff with jitter."""

from itertools import islice

from deepmath.clients.backoff import pauses


def test_pauses_grow_to_a_bound():
    first, *_, last = islice(pauses(), 20)
    assert 0.04 <= first <= 0.06
    assert 1.6 <= last <= 2.4


def test_two_clients_do_not_pause_in_step():
    assert list(islice(pauses(), 5)) != list(islice(pauses(), 5))
