"""Figures hold the numbers of the records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gap_tune.records.decisions import tuned_trials
from gap_tune.report import Comparison
from gap_tune.report.figures import courses, plots
from gap_tune.report.figures.style import arm_looks


def traces(figure, **attributes):
    return [t for t in figure.data if all(t[k] == v for k, v in attributes.items())]


def test_learning_curve_is_the_mean_of_seeds_within_their_range(make_records):
    records = make_records({"gap": {0: 0.2, 1: 0.4}, "fixed:0.9": {0: 0.3}}, reports=3)
    figure = plots.learning_curves(Comparison.of(records), "validation_loss")
    band, line = traces(figure, name="gap")
    assert line.x.tolist() == [0.5, 1.0, 1.5]
    assert line.y == pytest.approx([0.5, 0.4, 0.3])
    assert band.y == pytest.approx([0.6, 0.5, 0.4, 0.2, 0.3, 0.4])


def test_few_reports_have_a_tick_each_and_none_between(make_records):
    for reports, tick in ((4, 1), (40, None)):
        made = make_records({"gap": {0: 0.2}}, reports=reports)
        records = replace(made, results=made.results.drop(columns="epoch"))
        figure = plots.learning_curves(Comparison.of(records), "validation_loss")
        assert figure.layout.xaxis.title.text == "report (count)"
        assert figure.layout.xaxis.dtick == tick


def test_failed_trials_do_not_bend_the_curve_of_finished_ones(make_records):
    records = make_records({"gap": {0: 0.2, 1: 9.0}}, failed={("gap", 1): "boom"})
    (line,) = plots.learning_curves(Comparison.of(records), "validation_loss").data
    assert line.y[-1] == pytest.approx(0.2)
    only = make_records({"gap": {1: 9.0}}, failed={("gap", 1): "boom"})
    (line,) = plots.learning_curves(Comparison.of(only), "validation_loss").data
    assert line.y[-1] == pytest.approx(9.0)


def test_metrics_reported_once_have_no_curve(make_records):
    records = make_records({"gap": {0: 0.2, 1: 0.3}})
    comparison = Comparison.of(records)
    assert plots.has_curve(comparison, "validation_accuracy")
    assert not plots.has_curve(comparison, "test_loss")
    assert not plots.has_curve(comparison, "absent")


def test_final_values_show_each_seed_and_the_mean(make_records):
    records = make_records({"gap": {0: 0.2, 1: 0.4}, "fixed:0.9": {0: 0.3}})
    dots, mean = traces(plots.final_values(Comparison.of(records), "test_loss"), name="gap")
    assert dots.x == pytest.approx([0.4, 0.8])
    assert mean.x == pytest.approx([0.6])


def test_momentum_line_holds_each_value_since_the_report_before(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=3, momenta=(0.9, 0.8, 0.95))
    (line,) = courses.momentum_over_steps(Comparison.of(records)).data
    assert list(line.x) == [0, 10, 20, 30]
    # Vertical first, then horizontal: the value at a step is that of the stretch before it.
    assert line.line.shape == "vh"
    assert line.y == pytest.approx([0.9, 0.9, 0.8, 0.95])


@pytest.mark.parametrize("trials", [1, 3, 8, 9, 40])
def test_momentum_is_drawn_at_its_true_value_however_many_trials_share_it(make_records, trials):
    records = make_records({"gap": dict.fromkeys(range(trials), 0.2)}, momenta=(0.8, 0.8, 0.99))
    lines = courses.momentum_over_steps(Comparison.of(records)).data
    assert len(lines) == trials
    for line in lines:
        assert set(line.y) == {np.float32(0.8), np.float32(0.99)}


def test_few_trials_of_equal_momentum_have_a_panel_each_and_many_let_each_other_through(
    make_records,
):
    few = make_records({"gap": dict.fromkeys(range(8), 0.2)})
    lines = courses.momentum_over_steps(Comparison.of(few)).data
    assert len({line.yaxis for line in lines}) == 8
    many = make_records({"gap": dict.fromkeys(range(80), 0.2)})
    lines = courses.momentum_over_steps(Comparison.of(many)).data
    assert len({line.yaxis for line in lines}) == 1
    assert max(line.opacity for line in lines) < 0.5


def test_each_moment_of_gains_has_a_scale_of_its_own(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=9)
    figure = plots.gain_curves(tuned_trials(records)[0])
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y3", "y4", "y5"]
    axes = [figure.layout[f"yaxis{place or ''}"] for place in ("", 2, 3, 4, 5)]
    assert not [axis for axis in axes if axis.matches or axis.range]
    # One below the other, none over another.
    ends = [end for axis in axes for end in reversed(axis.domain)]
    assert ends == sorted(ends, reverse=True)
    assert all(0 <= end <= 1 for end in ends)


def test_gain_line_holds_what_tuned_trials_reported(make_records):
    records = make_records({"gap": {0: 0.2}, "fixed:0.9": {0: 0.3}}, reports=3)
    (line,) = courses.gain_over_steps(Comparison.of(records)).data
    assert list(line.x) == [10, 20, 30]
    assert line.y == pytest.approx([1.0, 2.0, 3.0])


def test_long_runs_keep_every_change_of_momentum_and_the_ends_of_curves(make_records):
    momenta = (0.9,) * 700 + (0.8,) * 800
    records = make_records({"gap": {0: 0.2}}, reports=1500, momenta=momenta)
    (line,) = courses.momentum_over_steps(Comparison.of(records)).data
    assert list(line.x) == [0, 10, 7000, 7010, 15000]
    assert line.y == pytest.approx([0.9, 0.9, 0.9, 0.8, 0.8])
    curve = plots.learning_curves(Comparison.of(records), "validation_loss").data[-1]
    assert len(curve.x) == 400
    assert (curve.x[0], curve.x[-1]) == (0.5, 750)


def test_trials_without_shared_seeds_have_a_line_each(make_records):
    records = make_records({"gap": {1: 0.2, 2: 0.4}}, reports=2, study={"paired": False})
    (trace,) = plots.learning_curves(Comparison.of(records), "validation_loss").data
    assert trace.x == pytest.approx([0.5, 1.0, np.nan, 0.5, 1.0, np.nan], nan_ok=True)
    assert trace.y == pytest.approx([0.3, 0.2, np.nan, 0.5, 0.4, np.nan], nan_ok=True)
    assert trace.customdata.tolist() == [1, 1, 1, 2, 2, 2]


def test_gain_curves_mark_the_momentum_chosen(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=9, momenta=(0.9, 0.8))
    figure = plots.gain_curves(tuned_trials(records)[0])
    assert len(figure.data) == 5
    first = figure.data[0]
    assert list(first.x) == ["0.8", "0.9", "0.95", "0.99"]
    assert list(first.marker.symbol) == ["circle-open-dot", "circle", "circle", "circle"]
    beta = np.array([0.8, 0.9, 0.95, 0.99])
    assert first.y == pytest.approx(np.sqrt(1 - beta**2) * (0.3 * 2 + beta))


def test_an_arm_looks_the_same_in_every_figure_and_unlike_the_others(full_study):
    comparison = Comparison.of(full_study)
    looks = arm_looks(comparison)
    assert len({look.colour for look in looks.values()}) == 7
    assert len({look.dash for look in looks.values()}) == 7
    curve = plots.learning_curves(comparison, "validation_loss")
    final = plots.final_values(comparison, "validation_loss")
    for arm, look in looks.items():
        assert traces(curve, name=arm, mode="lines")[-1].line.color == look.colour
        assert traces(final, name=arm)[0].marker.color == look.colour


def test_every_figure_has_a_title_and_named_axes(full_study):
    comparison = Comparison.of(full_study)
    figures = [
        plots.learning_curves(comparison, "validation_accuracy"),
        plots.final_values(comparison, "test_loss"),
        courses.momentum_over_steps(comparison),
        plots.gain_curves(tuned_trials(full_study)[0]),
    ]
    for figure in figures:
        assert figure.layout.title.text
        assert figure.layout.xaxis.title.text
    assert figures[0].layout.yaxis.title.text == "validation accuracy (fraction)"


def test_names_are_shown_and_never_read_as_markup_or_templates(make_records):
    name = 'gap <a href="https://example.org">%{x}</a>'
    figure = plots.final_values(Comparison.of(make_records({name: {0: 0.2}})), "validation_loss")
    assert "<" not in figure.data[0].name
    assert "%" not in figure.data[0].name


def test_studies_without_any_report_have_empty_figures(make_records):
    records = make_records({"gap": {}, "fixed:0.9": {}})
    comparison = Comparison.of(records)
    assert not plots.has_curve(comparison, "validation_loss")
    assert not plots.final_values(comparison, "validation_loss").data
    assert not courses.momentum_over_steps(comparison).data


def test_a_trial_without_readable_statistics_has_an_empty_gain_figure(make_records):
    records = make_records({"gap": {0: 0.2}})
    records = replace(records, results=records.results.drop(columns="gap/statistics"))
    assert not plots.gain_curves(tuned_trials(records)[0]).data
