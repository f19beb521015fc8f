import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from roentmod.errors import RetrainError
from roentmod.learning.batches import balance, cell_weights, draws_of, groups, row_weights
from roentmod.plans.retrain import Task
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import tiny

CONFOUNDED = np.array(
    [[1, 1, 0]] * 60 + [[0, 0, 0]] * 30 + [[1, 0, 1]] * 6 + [[0, 1, 0]] * 4, dtype=np.float32
)
ALL = np.ones(len(CONFOUNDED), dtype=bool)
MORE = (np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], np.array([True, True, False, True]))


def drawn(arm, steps=400, **changes):
    draws = draws_of(Task(arm, 1), tiny(**changes), CONFOUNDED, ALL, MORE)
    return [draws.batch(step) for step in range(steps)]


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


def test_arms_without_counterfactuals_draw_none():
    assert all(len(real) == 8 and not len(extra) for real, extra in drawn("oversampling", 5))
    with pytest.raises(RetrainError, match="'soft' learns from counterfactuals"):
        draws_of(Task("soft", 0), tiny(), CONFOUNDED, ALL, None)
    with pytest.raises(RetrainError, match="none of the training set has"):
        draws_of(Task("soft", 0), tiny(), CONFOUNDED, ALL, (MORE[0] * np.nan, MORE[1]))


def test_a_step_draws_the_same_whenever_it_is_asked():
    draws = draws_of(Task("isolated", 1), tiny(), CONFOUNDED, ALL, MORE)
    late = draws.batch(7)
    again = draws_of(Task("isolated", 1), tiny(), CONFOUNDED, ALL, MORE).batch(7)
    assert all(np.array_equal(a, b) for a, b in zip(late, again, strict=True))
    other = draws_of(Task("isolated", 2), tiny(), CONFOUNDED, ALL, MORE).batch(7)
    assert not np.array_equal(late[0], other[0])
    assert not np.array_equal(late[0], draws.batch(8)[0])


def test_what_cannot_be_read_is_not_drawn():
    readable = np.arange(len(CONFOUNDED)) % 2 == 0
    for arm in ("erm", "oversampling"):
        draws = draws_of(Task(arm, 0), tiny(), CONFOUNDED, readable, None)
        rows = np.concatenate([draws.batch(step)[0] for step in range(100)])
        assert set(rows) <= set(np.flatnonzero(readable))
        assert len(set(rows)) > 40


def test_balance_is_negatives_a_positive_up_to_twenty():
    rare = np.zeros((100, 2), dtype=np.float32)
    rare[0, 0], rare[:50, 1] = 1, np.nan
    rare[50:70, 1] = 1
    assert balance(rare) == pytest.approx([20, 30 / 20])
