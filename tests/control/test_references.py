"""The momentum that each group's learning rate belongs to, as groups come, go and are loaded."""

from __future__ import annotations

import torch

from gap_tune.control.references import References

KEY = "reference_momentum"


def optimizer(*momenta: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "momentum": m} for m in momenta]
    return torch.optim.SGD(groups, lr=0.1)


def test_a_group_s_own_momentum_is_its_reference_unless_one_is_given() -> None:
    o = optimizer(0.9, 0.5)
    own = References(o, None)
    assert own.take_in() == [0, 1]
    assert [group[KEY] for group in o.param_groups] == [0.9, 0.5]
    assert own.is_own(0)
    assert own.is_own(1)
    assert own.take_in() == []
    o = optimizer(0.9, 0.5)
    given = References(o, 0.8)
    assert given.take_in() == [0, 1]
    assert [group[KEY] for group in o.param_groups] == [0.8, 0.8]
    assert not given.is_own(0)


def test_a_loaded_reference_counts_and_is_a_group_s_own_no_more_unless_momentum_was_changed() -> (
    None
):
    for changed in (False, True):
        o = optimizer(0.9, 0.5)
        references = References(o, None)
        references.take_in()
        o.param_groups[0][KEY] = 0.7
        assert references.take_in(loaded=True, changed=changed) == []
        assert references.state_dict() == {0: 0.7, 1: 0.5}
        assert references.is_own(0) is changed


def test_a_reference_that_stands_in_a_group_by_chance_is_no_loaded_one() -> None:
    o = optimizer(0.9)
    references = References(o, None)
    references.take_in()
    o.param_groups[0][KEY] = 0.7
    references.take_in()
    assert references.state_dict() == {0: 0.7}
    assert references.is_own(0)


def test_a_state_without_references_leaves_them_as_they_are_and_a_new_group_has_its_own() -> None:
    o = optimizer(0.9)
    references = References(o, None)
    references.take_in()
    # A state of plain torch was loaded, whose momentum is another.
    o.param_groups[0] = {**optimizer(0.5).param_groups[0]}
    assert references.take_in(loaded=True) == [0]
    assert o.param_groups[0][KEY] == 0.9
    # The group itself was replaced.
    o.param_groups[0] = {**optimizer(0.5).param_groups[0]}
    assert references.take_in() == [0]
    assert o.param_groups[0][KEY] == 0.5


def test_what_a_checkpoint_brought_before_is_the_reference_of_a_group_that_is_new() -> None:
    o = optimizer(0.9)
    o.param_groups[0][KEY] = 0.6
    references = References(o, None)
    assert references.take_in() == [0]
    assert references.state_dict() == {0: 0.6}
    assert not references.is_own(0)


def test_groups_that_are_gone_are_forgotten() -> None:
    o = optimizer(0.9, 0.5)
    references = References(o, None)
    references.take_in()
    del o.param_groups[1]
    references.take_in()
    assert references.state_dict() == {0: 0.9}


def test_saved_references_are_put_into_the_groups_that_there_are() -> None:
    o = optimizer(0.9)
    references = References(o, None)
    references.load_state_dict({0: 0.7, 1: 0.6})
    assert o.param_groups[0][KEY] == 0.7
    # The second group joins later.
    assert references.state_dict() == {0: 0.7, 1: 0.6}


def test_taken_out_twice_is_taken_out() -> None:
    o = optimizer(0.9)
    references = References(o, None)
    references.take_in()
    references.take_out()
    references.take_out()
    assert KEY not in o.param_groups[0]
