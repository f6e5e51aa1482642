"""Plans: laws that hold for every study and every constant, and numbers computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError
from gap_tune.planning import Request, advise, improved, plan
from gap_tune.planning.advice import COMFORTABLE
from tests.planning.known import constants

SHIPPED_LIKE = constants(
    result_bare_s=1e-3,
    result_scheduler_s=2e-3,
    result_trial_s=1.5e-3,
    tensorboard_s=1e-3,
    waiting_s=1e-6,
    suggestion_random_s=5e-4,
    suggestion_tpe_s=5e-3,
    suggestion_tpe_per_trial_s=2e-5,
    start_s=0.02,
    start_reused_s=0.01,
    start_delay_s=3.0,
    start_delay_reused_s=0.2,
    saving_trial_s=1e-4,
    result_bare_bytes=700,
    result_bytes=2500,
    tensorboard_bytes=900,
    decision_bytes=500,
    trial_bytes=1500,
    state_trial_bytes=8000,
    driver_bytes=4e8,
    memory_trial_bytes=4e4,
    memory_searcher_bytes=5e3,
)
requests = st.builds(
    Request,
    trials=st.integers(1, 100_000),
    nodes=st.integers(1, 500),
    gpus=st.integers(1, 8),
    report_seconds=st.floats(0.1, 7200),
    reports=st.integers(1, 200),
    searcher=st.sampled_from(["tpe", "random"]),
    decide=st.sampled_from(["scheduler", "trial", "nobody"]),
    reuse_actors=st.booleans(),
    tensorboard=st.booleans(),
    limited=st.booleans(),
)


def test_the_load_is_what_all_trials_give_the_driver_to_do() -> None:
    known = constants(
        result_scheduler_s=0.01,
        start_reused_s=0.5,
        suggestion_random_s=0.1,
        start_delay_reused_s=20,
    )
    request = Request(
        trials=1000,
        nodes=10,
        gpus=4,
        report_seconds=10,
        reports=8,
        searcher="random",
        reuse_actors=True,
        tensorboard=False,
    )
    made = plan(request, known)
    # 40 trials, each of which takes 8 x 10 + 20 seconds with its start.
    assert made.load_results == pytest.approx(40 * 8 / 100 * 0.01)
    assert made.load_trials == pytest.approx(40 / 100 * 0.6)
    assert made.load == pytest.approx(0.032 + 0.24)
    assert made.results_per_second == pytest.approx(3.2, rel=0.01)
    # 25 rounds, and 40 starts before all are there.
    assert made.seconds == pytest.approx(25 * 100 + 40 * 0.6, rel=0.01)
    assert made.ideal_seconds == 25 * 80
    assert made.wait_burst == pytest.approx(40 * 0.01)
    assert made.start_share == pytest.approx(0.2, rel=0.01)


def test_sizes_are_sums() -> None:
    known = constants(
        result_bytes=2000,
        tensorboard_bytes=500,
        decision_bytes=300,
        checkpoint_bytes=900_000,
        trial_bytes=1000,
        state_trial_bytes=7000,
        state_bytes=50_000,
        driver_bytes=1e8,
        memory_trial_bytes=1e5,
        memory_searcher_bytes=1e4,
        memory_result_bytes=10,
        result_scheduler_s=0.001,
    )
    made = plan(Request(trials=100, nodes=1, gpus=4, report_seconds=10, reports=50), known)
    assert made.log_size == 100 * (50 * 2500 + 1000)
    assert made.decisions_size == 100 * 50 * 300
    assert made.state_size == 50_000 + 100 * 7000
    assert made.driver_memory == 1e8 + 100 * 1.1e5 + 5000 * 10
    assert made.checkpoints_size == 100 * 900_000
    assert made.files == 500
    plain = plan(replace(made.request, decide="nobody", tensorboard=False), known)
    assert plain.decisions_size == 0
    assert plain.files == 400


def test_ray_saves_at_most_a_twentieth_of_its_time() -> None:
    request = Request(trials=10_000, nodes=1, gpus=4, report_seconds=10)
    quick, slow = (plan(request, constants(saving_trial_s=s)) for s in (1e-6, 1e-3))
    assert (quick.saving, quick.saving_every) == pytest.approx((0.01, 10))
    assert (slow.saving, slow.saving_every) == pytest.approx((10, 190))
    assert slow.load_saving == pytest.approx(1 / 20)


def test_without_a_limit_a_searchers_trials_start_one_after_another() -> None:
    known = constants(start_delay_s=3.0)
    request = Request(trials=4000, nodes=100, gpus=4, report_seconds=1, limited=False)
    one_by_one, together = plan(request, known), plan(replace(request, limited=True), known)
    assert one_by_one.ramp == pytest.approx(400 * 3.0)
    assert together.ramp == pytest.approx(3.0)
    assert one_by_one.seconds >= 4000 * 3.0
    assert together.seconds == pytest.approx(10 * 23)


def test_where_the_driver_is_the_limit_the_study_takes_as_long_as_its_work() -> None:
    known = constants(result_scheduler_s=0.01)
    request = Request(
        trials=4000, nodes=100, gpus=4, report_seconds=1, searcher="random", reports=100
    )
    made = plan(request, known)
    assert made.load == pytest.approx(4)
    assert made.behind == pytest.approx(4, rel=0.02)
    assert made.seconds == pytest.approx(4000 * 100 * 0.01, rel=0.02)
    assert made.results_per_second == pytest.approx(100, rel=0.02)
    assert made.waiting_share == pytest.approx(0.75, rel=0.02)


@given(requests, st.integers(1, 10_000))
def test_more_trials_never_make_anything_less(request: Request, more: int) -> None:
    few = plan(request, SHIPPED_LIKE)
    many = plan(replace(request, trials=request.trials + more), SHIPPED_LIKE)
    for name in (
        *("load", "wait_mean", "wait_longest", "driver_memory", "log_size", "state_size"),
        *("saving", "ramp", "seconds", "ideal_seconds", "files"),
    ):
        assert getattr(many, name) >= getattr(few, name) * (1 - 1e-6), name


@given(requests, st.floats(1.01, 50))
def test_rarer_reports_never_raise_the_load(request: Request, factor: float) -> None:
    often = plan(request, SHIPPED_LIKE)
    rare = plan(replace(request, report_seconds=request.report_seconds * factor), SHIPPED_LIKE)
    assert rare.load <= often.load * (1 + 1e-9)
    # A driver that is behind has all trials wait, as often as they report.
    if often.load < 1:
        assert rare.wait_mean <= often.wait_mean * (1 + 1e-6)
    assert rare.waiting_share <= often.waiting_share * (1 + 1e-6)


@given(requests, st.integers(1, 100))
def test_more_nodes_never_lower_the_load_and_never_lengthen_training(
    request: Request, more: int
) -> None:
    small, large = (
        plan(each, SHIPPED_LIKE) for each in (request, replace(request, nodes=request.nodes + more))
    )
    assert large.load >= small.load * (1 - 1e-9)
    assert large.ideal_seconds <= small.ideal_seconds


@given(requests)
def test_shares_are_shares_and_waits_are_in_order(request: Request) -> None:
    made = plan(request, SHIPPED_LIKE)
    assert 0 <= made.waiting_share < 1
    assert 0 <= made.start_share < 1
    assert made.service <= made.wait_mean * (1 + 1e-9)
    assert made.wait_burst <= made.wait_longest
    assert made.behind >= 1
    assert made.seconds >= made.ideal_seconds
    parts = made.load_results + made.load_trials + made.load_saving
    assert made.load == pytest.approx(parts)


@given(requests)
@example(Request(4577, nodes=3, gpus=6, report_seconds=1.0, reports=1))
def test_advice_makes_better_what_it_says_and_nothing_is_advised_twice(request: Request) -> None:
    asked = plan(request, SHIPPED_LIKE)
    advice = advise(asked, SHIPPED_LIKE)
    assert len({each.change for each in advice}) == len(advice)
    for each in advice:
        assert each.before != each.after
        made = plan(each.request, SHIPPED_LIKE)
        if each.number == "load":
            assert made.load < asked.load
        if each.change.startswith("report every"):
            assert made.load < COMFORTABLE
            assert each.request.trial_seconds == pytest.approx(request.trial_seconds)


@given(requests)
@example(Request(3733, nodes=260, gpus=8, report_seconds=1.0, reports=146, searcher="random"))
def test_after_all_advice_the_driver_has_no_more_to_do(request: Request) -> None:
    asked = plan(request, SHIPPED_LIKE)
    better = improved(asked, SHIPPED_LIKE)
    # Trials that start at once come one after another sooner: that alone is more to do.
    limited = plan(replace(request, limited=True), SHIPPED_LIKE)
    if not request.reuse_actors and better.request.reuse_actors:
        limited = plan(replace(limited.request, reuse_actors=True), SHIPPED_LIKE)
    assert better.load <= limited.load * (1 + 1e-9)
    again = improved(better, SHIPPED_LIKE)
    assert again.request == better.request or better.load >= COMFORTABLE


def test_a_driver_that_cannot_is_told_how_it_could() -> None:
    request = Request(
        100_000, nodes=100, gpus=4, report_seconds=0.5, reports=100, searcher="random"
    )
    asked = plan(request, SHIPPED_LIKE)
    assert asked.load > 1
    changes = " ".join(each.change for each in advise(asked, SHIPPED_LIKE))
    for expected in ("no TensorBoard", "report every", "decide in the trials", "studies at once"):
        assert expected in changes
    assert improved(asked, SHIPPED_LIKE).load < COMFORTABLE


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"trials": 0}, "trials must be an integer of at least 1, but got 0"),
        ({"report_seconds": 0.0}, "report_seconds must be a number in (0, inf), but got 0.0"),
        ({"searcher": "tea"}, "searcher must be one of tpe, random, but got 'tea'"),
        ({"decide": "me"}, "decide must be one of scheduler, trial, nobody, but got 'me'"),
        ({"trials_per_gpu": 0.1}, "must leave room for a trial on 2 x 4 GPUs, but got 0.1"),
        ({"studies": 9}, "studies must be at most as many as trials run at once, 8, but got 9"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(given: dict[str, object], complaint: str) -> None:
    fine = {"trials": 100, "nodes": 2, "gpus": 4, "report_seconds": 30.0}
    with pytest.raises(InvalidValueError) as error:
        Request(**{**fine, **given})  # type: ignore[arg-type]
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("per_gpu", "places"), [(1.0, 8), (2.0, 16), (0.5, 4), (1 / 3, 2), (0.25, 2)]
)
def test_places_are_whole_trials_on_each_node(per_gpu: float, places: int) -> None:
    request = Request(100, nodes=2, gpus=4, report_seconds=30, trials_per_gpu=per_gpu)
    assert request.places == places
