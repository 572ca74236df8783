"""The breaker's times, with the clock in the test's hand."""

from kwsd.runtime.breaker import ABSENT_S, HEALTHY_S, Breaker, State


def test_delays_grow_while_faults_follow_each_other():
    breaker, now = Breaker(), 1000.0
    for delay in (1.0, 5.0, 30.0, 300.0, 300.0):
        breaker.trip(now)
        assert not breaker.may_try(now + delay - 0.01)
        assert breaker.may_try(now + delay)
        now += delay
        breaker.restarted(now)
        assert breaker.state is State.CLOSED


def test_long_service_forgets_old_faults():
    breaker = Breaker()
    breaker.trip(0.0)
    breaker.restarted(1.0)
    breaker.trip(1.0 + HEALTHY_S)
    assert breaker.may_try(2.0 + HEALTHY_S)


def test_three_failed_restarts_end_the_attempts_until_told_otherwise():
    breaker = Breaker()
    breaker.trip(0.0)
    for now in (1.0, 6.0, 36.0):
        assert not breaker.may_try(now - 0.01)
        assert breaker.may_try(now)
        breaker.restart_failed(now)
    assert breaker.state is State.HALTED
    assert not breaker.may_try(1e9)
    breaker.rearm(1e9)
    assert breaker.may_try(1e9)


def test_a_restart_that_succeeds_forgets_those_that_failed():
    breaker = Breaker()
    for now in (0.0, 1000.0, 2000.0, 3000.0):
        breaker.trip(now)
        breaker.restart_failed(now + 1.0)
        assert breaker.state is State.OPEN
        breaker.restarted(now + 100.0)


def test_what_is_absent_is_looked_for_without_end():
    breaker = Breaker()
    for now in range(0, 3000, int(ABSENT_S)):
        breaker.absent(float(now))
        assert not breaker.may_try(now + ABSENT_S - 1)
        assert breaker.may_try(now + ABSENT_S)


def test_rearm_does_not_disturb_service():
    breaker = Breaker()
    breaker.restarted(0.0)
    breaker.rearm(1.0)
    assert breaker.state is State.CLOSED
