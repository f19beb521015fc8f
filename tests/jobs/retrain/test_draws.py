import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from roentmod.errors import RetrainError
from roentmod.learning.batches import (
    balance,
    balanced_rows,
    balanced_weights,
    cell_weights,
    error_weights,
    groups,
    row_weights,
)
from roentmod.learning.objectives import objective_of
from roentmod.plans.retrain import ARMS, Task
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import labelled_rows, tiny

CONFOUNDED = np.array(
    [[1, 1, 0]] * 60 + [[0, 0, 0]] * 30 + [[1, 0, 1]] * 6 + [[0, 1, 0]] * 4, dtype=np.float32
)
ALL = np.ones(len(CONFOUNDED), dtype=bool)
# Four counterfactuals, of which the third cannot be read.
MORE = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
SEEN = np.array([True, True, False, True])


def objective(arm, *, targets=CONFOUNDED, readable=ALL, more=MORE, seen=SEEN, seed=1, **changes):
    """One objective of rows without pictures; the controls of counterfactuals come after them."""
    material = labelled_rows(targets, readable, more, seen, arm=arm)
    return objective_of(Task(arm, seed), tiny(**changes), material)


def drawn(arm, steps=400, **changes):
    one = objective(arm, **changes)
    return [one.draw(step)[:2] for step in range(steps)]


def test_a_pair_makes_four_groups():
    (group,) = groups(CONFOUNDED, tiny())
    assert group.name == "Cardiomegaly > Pleural Effusion"
    assert group.counts() == [30, 4, 6, 60]
    expected = compute_sample_weight("balanced", group.codes)
    assert group.weights() == pytest.approx(expected)
    assert group.weights().mean() == pytest.approx(1)


def test_unknown_and_soft_labels_are_of_no_group():
    targets = CONFOUNDED.copy()
    targets[0, 0], targets[1, 1] = np.nan, 0.3
    (group,) = groups(targets, tiny())
    assert group.codes[:3].tolist() == [-1, -1, 3]
    assert group.weights()[:2].tolist() == [1, 1]
    assert group.counts() == [30, 4, 6, 58]


def test_without_pairs_groups_are_positives_and_negatives():
    found = groups(CONFOUNDED, tiny(pairs=()))
    assert [group.name for group in found] == list(FINDINGS)
    assert found[2].counts() == [94, 6]
    expected = np.mean([compute_sample_weight("balanced", column) for column in CONFOUNDED.T], 0)
    assert row_weights(CONFOUNDED, tiny(pairs=())) == pytest.approx(expected)


def test_reweighting_weighs_the_heads_of_pairs():
    pairs = (FINDINGS[:2], (FINDINGS[0], FINDINGS[2]))
    weights = cell_weights(CONFOUNDED, tiny(pairs=pairs))
    first, second = (group.weights() for group in groups(CONFOUNDED, tiny(pairs=pairs)))
    assert weights[:, 1] == pytest.approx(first)
    assert weights[:, 2] == pytest.approx(second)
    assert weights[:, 0] == pytest.approx((first + second) / 2)
    assert (cell_weights(CONFOUNDED, tiny())[:, 2] == 1).all()


def test_oversampling_draws_groups_alike_and_erm_rows():
    (group,) = groups(CONFOUNDED, tiny())
    shares = {}
    for arm in ("erm", "oversampling", "reweighting"):
        rows = np.concatenate([real for real, _ in drawn(arm)])
        shares[arm] = np.bincount(group.codes[rows], minlength=4) / len(rows)
    assert shares["oversampling"] == pytest.approx([0.25] * 4, abs=0.03)
    assert shares["erm"] == pytest.approx([0.3, 0.04, 0.06, 0.6], abs=0.03)
    assert np.array_equal(shares["erm"], shares["reweighting"])


@pytest.mark.parametrize("arm", ["synthetic", "isolated", "soft"])
def test_counterfactuals_come_beside_the_whole_real_batch(arm):
    assert len(drawn("erm", 1, batch=12)[0][0]) == 12
    for real, extra in drawn(arm, 50, batch=12, share=0.25):
        assert (len(real), len(extra)) == (12, 4)
        # Row 2 cannot be read.
        assert set(extra) <= {0, 1, 3}
    assert {row for _, extra in drawn(arm, 50) for row in extra} == {0, 1, 3}


def check_pairs(extra, source, *, alone):
    """Control of row n is row n + 4; that of row 3 can be read in one case only."""
    edited = np.flatnonzero(extra < 4)
    after = np.append(extra, -1)[edited + 1]
    lone = (extra[edited] == 3) & alone
    assert (lone | (after == extra[edited] + 4)).all()
    assert len(extra) == 2 * len(edited) - lone.sum()
    assert np.array_equal(source, np.where(extra < 4, extra, extra - 4))


@pytest.mark.parametrize(("batch", "share", "count"), [(16, 0.25, 5), (4, 0.2, 1), (9, 0.5, 9)])
@pytest.mark.parametrize("arm", ["isolated", "soft", "teacher", "pair"])
def test_no_counterfactual_is_cut_off_from_its_control(arm, batch, share, count):
    more = np.concatenate([MORE, np.zeros((4, 3), dtype=np.float32)])
    one = objective(arm, more=more, seen=np.ones(8, dtype=bool), batch=batch, share=share)
    for step in range(20):
        _, extra, source = one.draw(step)
        check_pairs(extra, source, alone=False)
        # Controls come on top of the share.
        assert len(extra) == 2 * count


@pytest.mark.parametrize("arm", ["isolated", "soft", "staged", "teacher", "pair", "pair_hinge"])
def test_controls_stand_beside_their_counterfactuals(arm):
    more = np.concatenate([MORE, np.zeros((4, 3), dtype=np.float32)])
    seen = np.array([True, True, False, True, True, True, True, arm == "pair"])
    one = objective(arm, more=more, seen=seen, batch=12, share=0.5, steps=100)
    for step in range(20):
        _, extra, source = one.draw(step)
        check_pairs(extra, source, alone=arm in ("isolated", "soft", "staged"))
        assert (extra < 4).sum() == (6 if arm == "staged" else 12)
    there = {row for step in range(20) for row in one.draw(step).extra}
    lone = {3} if arm in ("isolated", "soft", "staged") else {3, 7} if arm == "pair" else set()
    assert there == {0, 1, 4, 5} | lone


def test_staged_learns_from_synthetic_pictures_first_and_from_real_ones_then():
    one = objective("staged", batch=12, steps=40, pretraining=0.3)
    sizes = [tuple(map(len, one.draw(step)[:2])) for step in range(40)]
    assert sizes == [(0, 12)] * 12 + [(12, 0)] * 28
    assert one.alone == 12
    erm = objective("erm", batch=12, steps=40)
    assert np.array_equal(one.draw(30).real, erm.draw(30).real)


def test_arms_without_counterfactuals_draw_none():
    assert all(len(real) == 8 and not len(extra) for real, extra in drawn("oversampling", 5))
    with pytest.raises(RetrainError, match="none of the training set has"):
        objective("soft", more=MORE * np.nan)
    with pytest.raises(RetrainError, match="none of the training set can be read with its own"):
        objective("pair")


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "dfr"])
def test_a_step_draws_the_same_whenever_it_is_asked(arm):
    more = {"more": np.concatenate([MORE, 0 * MORE]), "seen": np.ones(8, dtype=bool)}
    late = [objective(arm, **more).draw(step) for step in (7, 5)]
    one = objective(arm, **more)
    again = [one.draw(step) for step in (5, 7)]
    for own, other in zip(late, again[::-1], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(own, other, strict=True))
    other = objective(arm, seed=2, **more).draw(7)
    assert not np.array_equal(late[0].real, other.real)
    assert not np.array_equal(late[0].real, late[1].real)


def test_balanced_draws_as_many_rows_of_each_group_as_the_smallest_has():
    (group,) = groups(CONFOUNDED, tiny())
    rows = np.concatenate([real for real, _ in drawn("balanced")])
    assert len(np.unique(rows)) == 4 * 4
    assert np.bincount(group.codes[np.unique(rows)]).tolist() == [4, 4, 4, 4]
    assert np.bincount(group.codes[rows]) / len(rows) == pytest.approx([0.25] * 4, abs=0.03)
    assert not np.array_equal(balanced_rows(group.codes, 0), balanced_rows(group.codes, 1))
    # What is in no group stays, and several pairs are drawn from alike.
    unknown = CONFOUNDED.copy()
    unknown[:10, 0] = np.nan
    assert (balanced_weights(unknown, tiny(), 1)[:10] == 1 / 26).all()
    both = tiny(pairs=(FINDINGS[:2], FINDINGS[1:]))
    weights = balanced_weights(CONFOUNDED, both, 1)
    # Of the second pair no row has both; the smallest of the others has six rows.
    assert sorted(np.unique(weights.round(9))) == pytest.approx([0, 1 / 36, 1 / 32, 17 / 288])
    assert weights.sum() == pytest.approx(1)


def test_in_jtt_labels_count_more_that_the_early_network_gets_wrong():
    targets = np.array([[1, 0, np.nan], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=np.float32)
    logits = np.array([[1, 1, 9], [-1, -1, -1], [-1, -1, -1], [-2, 1, 3]], dtype=np.float32)
    # With one head it is the paper's: wrong rows count so often. No label is wrong that is unknown.
    wrong = [[1, 7, 1], [1, 1, 1], [7, 7, 7], [1, 1, 7]]
    assert error_weights(targets, logits, 7).tolist() == wrong
    one = objective("jtt", jtt_upweight=20)
    # The early network of these rows is wrong of the second head of the last ten.
    step = one.draw(0)
    weights = one.weights(step, np.zeros((len(step.real), 3), dtype=np.float32))
    assert weights.tolist() == [[1, 20 if row >= 90 else 1, 1] for row in step.real]
    assert 20 in weights
    assert np.array_equal(step.real, objective("erm").draw(0).real)


def test_what_cannot_be_read_is_not_drawn():
    readable = np.arange(len(CONFOUNDED)) % 2 == 0
    for arm in ("erm", "oversampling"):
        rows = np.concatenate([real for real, _ in drawn(arm, 100, readable=readable)])
        assert set(rows) <= set(np.flatnonzero(readable))
        assert len(set(rows)) > 40


def test_balance_is_negatives_a_positive_up_to_twenty():
    rare = np.zeros((100, 2), dtype=np.float32)
    rare[0, 0], rare[:50, 1] = 1, np.nan
    rare[50:70, 1] = 1
    assert balance(rare, np.ones((1, 1))) == pytest.approx([20, 30 / 20])


def test_positives_count_once_where_groups_are_even_already():
    plain = objective("erm")
    positives = (CONFOUNDED == 1).sum(axis=0)
    negatives = (CONFOUNDED == 0).sum(axis=0)
    assert balance(CONFOUNDED, plain.counted()) == pytest.approx(negatives / positives)
    for arm in ("oversampling", "balanced", "reweighting", "group_dro"):
        # The pair's heads, of which each group is drawn or weighed alike.
        own = balance(CONFOUNDED, objective(arm).counted())
        assert own[:2] == pytest.approx([1, 1]), arm
    # The early network is wrong of the second head of the last ten rows, four of them positive.
    own = balance(CONFOUNDED, objective("jtt", jtt_upweight=20).counted())
    assert own[1] == pytest.approx((30 + 6 * 20) / (60 + 4 * 20))
    assert own[[0, 2]] == pytest.approx((negatives / positives)[[0, 2]])
