"""What each arm minimises, against plain references; that all of them end alike when resumed."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import huber
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roentmod.errors import RetrainError
from roentmod.jobs import retrain
from roentmod.learning import refit
from roentmod.learning.batches import balanced_rows, groups
from roentmod.learning.devices import accelerator_of
from roentmod.learning.material import CONTROL, Counterfactuals, Material
from roentmod.learning.networks import build
from roentmod.learning.objectives import pair_penalty, updated
from roentmod.learning.pictures import Pictures
from roentmod.learning.samples import Samples
from roentmod.learning.trainer import Course, answer
from roentmod.learning.training import train
from roentmod.plans.retrain import ARMS, LATER_ARMS, Task
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import tiny

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIDE = 16
SETTLED = [arm for arm in ARMS if arm != "dfr"]


LIFTS = (90, 10, 90)


def bands(shown, seed):
    """Pictures of n x k labels: noise, and a bright band per finding, that of the second faint."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(60, 120, (len(shown), SIDE, SIDE))
    for head, lift in enumerate(LIFTS):
        pictures[:, 4 * head : 4 * head + 4] += (lift * shown[:, head, None, None]).astype(int)
    return Pictures((pictures.clip(0, 255).astype(np.uint8),), np.ones(len(shown), dtype=bool))


def split(name, shown, seed):
    table = pd.DataFrame({"image_id": [f"{name}{n}" for n in range(len(shown))]})
    samples = Samples(name, table, shown.astype(np.float32), FINDINGS, None)
    return samples, bands(shown, seed)


def independent(count, seed):
    return (np.random.default_rng(seed).random((count, 3)) < 0.5).astype(np.float32)


def confounded(count, seed):
    """The second finding is there where the first is, but for one row in ten."""
    shown = independent(count, seed)
    copied = np.random.default_rng(seed + 1).random(count) < 0.9
    shown[:, 1] = np.where(copied, shown[:, 0], shown[:, 1])
    return shown


@pytest.fixture(scope="module")
def material():
    """A planted shortcut; counterfactuals of rows without finding, then their controls."""
    added = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    hosts = bands(np.zeros((60, 3)), 7).blocks[0]
    edited = hosts.astype(int)
    for head, lift in enumerate(LIFTS):
        edited[:, 4 * head : 4 * head + 4] += (lift * added[:, head, None, None]).astype(int)
    blocks = np.concatenate([edited.clip(0, 255).astype(np.uint8), hosts])
    none = np.zeros_like(added)
    control = np.concatenate([np.arange(60, 120), np.full(60, CONTROL)])
    labels = np.concatenate([added, none])
    masked = np.where(labels == 1, 1, np.nan).astype(np.float32)
    targets = dict.fromkeys(("isolated", "soft", "staged"), labels)
    targets |= dict.fromkeys(("synthetic", "pair", "pair_hinge"), masked)
    # Of every fifth host it is not known that it is without the first finding.
    known = np.where((np.arange(120) % 5 == 0)[:, None] & [True, False, False], np.nan, 0)
    targets["teacher"] = np.where(np.arange(120)[:, None] < 60, masked, known).astype(np.float32)
    made = Counterfactuals(labels == 1, control, targets)
    extra = made, Pictures((blocks,), np.ones(120, dtype=bool))
    val = split("val", confounded(160, 3), 4)
    return Material(split("train", confounded(200, 1), 2), val, extra)


def begun(material, arm, **changes):
    count = len(material.train[0]) if arm == "jtt" else 120
    said = np.random.default_rng(5).normal(size=(count, 3)).astype(np.float32)
    plan = tiny(**({"augmentation": False, "batch": 16, "share": 0.5} | changes))
    one = replace(material, erm=said)
    return Course(Task(arm, 0), one, plan, accelerator_of("cpu", "no"))


def answered(course, drawn):
    """What the network says of a batch while it learns, without a gradient."""
    shown = torch.from_numpy(course._shown(drawn))[:, None].float() / 255
    with torch.no_grad():
        return course.plain.train()(shown).numpy().astype(float)


def crossed(logits, truth, course):
    """The losses of labels, positives weighed."""
    chance = 1 / (1 + np.exp(-logits))
    balance = course.balance.numpy()
    return -np.where(truth == 1, np.log(chance) * balance, np.log(1 - chance))


def test_group_weights_rise_as_the_formula_says():
    before, losses = np.array([0.5, 0.25, 0.25]), np.array([1.0, 3.0, 0.0])
    raised = [0.5 * np.exp(0.1), 0.25 * np.exp(0.3), 0.25]
    assert updated(before, losses, 0.1) == pytest.approx(np.array(raised) / sum(raised))


def test_group_dro_minimises_the_loss_of_the_group_that_is_worst(material):
    course = begun(material, "group_dro", group_step=0.5, batch=64)
    pair = groups(material.train[0].targets, course.plan)[0]
    assert [list(own) for own in course.objective.group_weights] == [[0.25] * 4]
    expected = np.full(4, 0.25)
    for step in range(3):
        drawn = course.objective.draw(step)
        codes, truth = pair.codes[drawn.real], material.train[0].targets[drawn.real]
        course.plain.load_state_dict(begun(material, "erm").plain.state_dict())
        each = crossed(answered(course, drawn), truth, course)
        # A group that is not in the batch has no loss, and keeps its weight but for the others'.
        there = [each[codes == code, :2] for code in range(4)]
        means = [own.mean() if len(own) else 0 for own in there]
        expected = expected * np.exp(0.5 * np.array(means))
        expected /= expected.sum()
        course.step = step
        course.plain.load_state_dict(begun(material, "erm").plain.state_dict())
        loss = course._loss().item()
        assert course.objective.group_weights[0] == pytest.approx(expected, rel=1e-4)
        # Two of three heads are of the pair; the third is learned as in erm.
        worst = (2 * expected @ means + each[:, 2].mean()) / 3
        assert loss == pytest.approx(worst, rel=1e-4)
    assert expected.max() > 0.28
    # Groups are drawn alike: the rare ones can raise their weights, and use them.
    assert min(map(len, there)) > 4


def test_the_penalty_of_pairs_is_the_huber_loss_of_what_was_not_added():
    rng = np.random.default_rng(0)
    edited, control = rng.normal(size=(2, 40, 3)) * 2
    added = np.eye(3, dtype=bool)[rng.integers(3, size=40)]
    words = [torch.from_numpy(one) for one in (edited, control, added)]
    off = huber(1, edited - control)[~added].mean()
    assert pair_penalty(*words).item() == pytest.approx(off)
    missing = np.maximum(1.5 - (edited - control)[added], 0).mean()
    assert pair_penalty(*words, margin=1.5).item() == pytest.approx(off + missing)
    # What moves nothing but the added finding, by more than the margin, costs nothing.
    moved = words[1] + 2 * words[2]
    assert pair_penalty(moved, words[1], words[2], margin=1.5).item() == 0
    both = torch.ones(40, 3, dtype=torch.bool)
    assert pair_penalty(words[0], words[1], both).item() == 0


def test_the_penalty_pushes_the_shortcut_down_and_leaves_the_added_head():
    weight = torch.tensor([[2.0, 0.0], [1.5, 1.0]], requires_grad=True)
    control = torch.zeros(1, 2)
    edited = torch.tensor([[1.0, 0.0]])
    added = torch.tensor([[True, False]])
    pair_penalty(edited @ weight.T, control @ weight.T, added).backward()
    assert weight.grad.tolist() == [[0, 0], [1, 0]]
    weight.grad = None
    pair_penalty(edited @ weight.T, control @ weight.T, added, margin=3.0).backward()
    assert weight.grad.tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize(("arm", "margin"), [("pair", None), ("pair_hinge", 0.7)])
def test_pair_is_erm_on_the_whole_real_batch_with_the_penalty(material, arm, margin):
    course = begun(material, arm, pair_weight=3.0, pair_margin=0.7)
    drawn = course.objective.draw(0)
    loss = course._loss().item()
    course.plain.load_state_dict(begun(material, arm).plain.state_dict())
    logits = answered(course, drawn)
    truth = material.train[0].targets[drawn.real]
    real = crossed(logits[:16], truth, course).mean()
    added = material.extra[0].added[drawn.extra[::2]]
    words = [torch.from_numpy(one) for one in (logits[16::2], logits[17::2], added)]
    # What the added finding lacks counts once, whatever the weight of the rest.
    expected = real + pair_penalty(*words, weight=3, margin=margin).item()
    assert expected - pair_penalty(*words, margin=margin).item() == pytest.approx(
        real + 2 * pair_penalty(*words).item()
    )
    assert (len(drawn.real), len(drawn.extra)) == (16, 32)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert expected > real


@pytest.mark.parametrize("arm", ["pair", "isolated"])
def test_a_counterfactual_and_its_control_are_varied_alike_in_pairs(material, arm):
    same = Pictures((np.full((120, SIDE, SIDE), 128, dtype=np.uint8),), np.ones(120, dtype=bool))
    course = begun(replace(material, extra=(material.extra[0], same)), arm, augmentation=True)
    seen = []
    course.plain.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    course._loss()
    alike = [torch.equal(*both) for both in zip(seen[0][16::2], seen[0][17::2], strict=True)]
    assert alike == [arm == "pair"] * 16
    assert not torch.equal(seen[0][16], seen[0][18])


def test_the_teacher_says_what_was_not_added(material):
    course = begun(material, "teacher")
    drawn = course.objective.draw(0)
    labels = course.objective.labels(drawn)[16:]
    made, said = material.extra[0], course.material.erm
    for place, row in enumerate(drawn.extra):
        own = drawn.source[place]
        chance = 1 / (1 + np.exp(-said[made.control[own]]))
        edited = row == own
        there = 1.0 if edited else made.targets["teacher"][row]
        expected = np.where(made.added[own], there, chance)
        assert labels[place] == pytest.approx(expected, nan_ok=True)
        unknown = not edited and row % 5 == 0 and made.added[own][0]
        assert np.isnan(labels[place]).sum() == unknown
    assert set(drawn.extra >= 60) == {True, False}


def test_staged_keeps_nothing_before_it_has_seen_real_pictures(material):
    course = begun(material, "staged", steps=40, pretraining=0.5, patience=2)
    while not course.ended:
        course.advance()
        if course.step % 4 == 0:
            course.look()
            assert (course.best["step"] > 20) == (course.step > 20)
            assert course.waited == 0 or course.step > 20
    assert course.step > 20
    assert course.result().facts["best_step"] > 20


def test_erm_shows_jtt_what_it_said_early(material, tmp_path):
    plan = tiny(arms=("erm", "jtt"), steps=8, jtt_early=0.5, batch=16)
    accelerator = accelerator_of("cpu", "no")
    done = train(Task("erm", 0), material, plan, tmp_path / "a", accelerator)
    course = Course(Task("erm", 0), material, plan, accelerator)
    for _ in range(4):
        course.advance()
    expected = answer(course.average.module, material.train[1], 200, CPU)
    assert np.array_equal(done.early, expected)
    # Where it ends before, its end is early.
    plan = plan.but(steps=100, jtt_early=0.9, patience=1, learning_rate=1e-9)
    done = train(Task("erm", 0), material, plan, tmp_path / "b", accelerator)
    assert done.facts["steps"] < 90
    assert done.early.shape == (200, 3)
    assert train(Task("erm", 0), material, tiny(), tmp_path / "c", accelerator).early is None


def test_the_last_layer_is_fitted_as_scikit_learn_does(material, monkeypatch):
    monkeypatch.setattr(refit, "_STRENGTHS", (0.5,))
    plan = tiny(arms=("erm", "dfr"))
    network = build("small", 3, 0, SIDE)
    ending = refit._Penultimate(network, SIDE)
    features = answer(ending, material.val[1], 160, CPU).astype(float)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    done = refit.refitted(Task("dfr", 2), network, material, plan, CPU)
    said = answer(network, material.val[1], 160, CPU)
    targets = material.val[0].targets
    pair = groups(targets, plan)[0]
    alone = groups(targets, plan.but(pairs=()))[2]
    for head, group in ((1, pair), (2, alone)):
        fits = []
        for number in range(10):
            rows = balanced_rows(group.codes, (2, head, 0, 1, number))
            assert len(set(np.bincount(group.codes[rows]))) == 1
            model = LogisticRegression(l1_ratio=1, solver="liblinear", C=0.5, random_state=0)
            pipe = make_pipeline(StandardScaler(), model.set_params(max_iter=1000))
            fits.append(pipe.fit(features[rows], targets[rows, head]).decision_function(features))
        assert np.mean(fits, axis=0) == pytest.approx(said[:, head], abs=1e-4)
    assert {k for k in before if not torch.equal(before[k], done.weights[k])} == {
        "whole.weight",
        "whole.bias",
    }
    assert done.facts["steps"] == 0
    assert done.history[0]["mean_auc"] == done.facts["val_auc"]


def test_the_penalty_is_the_one_that_is_best_in_the_worst_group():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2, 3], 30)
    truth = (codes % 2).astype(np.float32)
    features = np.column_stack([truth + 0.8 * rng.normal(size=120), rng.normal(size=(120, 60))])
    assert refit._strength(features, truth, codes, (0,)) < 1
    clear = np.column_stack([truth + 0.01 * rng.normal(size=120), codes // 2])
    assert refit._strength(clear, truth, codes, (0,)) == 1.0
    assert refit.fit_head(features, np.ones(120, dtype=np.float32), codes, (0,)) is None


def test_halves_have_as_many_of_each_group():
    """Of one row a group there is no half to read; of three, each half has all groups."""
    codes = np.repeat([0, 1, 2, 3], 3)
    truth = (codes % 2).astype(np.float32)
    worse = np.column_stack([truth, np.random.default_rng(0).normal(size=(12, 20))])
    assert refit._strength(worse, truth, codes, (0,)) == 1.0
    assert refit._strength(worse[::3], truth[::3], codes[::3], (0,)) == 1.0


def test_a_layer_is_refitted_on_training_rows_where_validation_has_too_few():
    plan = tiny()
    few, many = confounded(20, 3), confounded(800, 1)
    few[:, 2], many[:, 2] = np.arange(20) % 2, np.arange(800) % 2
    least = [min(groups(one, plan)[0].counts()) for one in (few, many)]
    assert 0 < least[0] < 10 <= least[1]
    splits = [(np.zeros((len(one), 4)), one) for one in (few, many)]
    sizes = {head: [len(own[0]) for own in refit._rows(head, splits, plan)] for head in range(3)}
    # The third head is of no pair: its own two groups have ten rows each.
    assert sizes == {0: [800], 1: [800], 2: [20]}
    assert [len(own[0]) for own in refit._rows(0, splits[::-1], plan)] == [800]
    assert [len(own[0]) for own in refit._rows(0, splits[:1] * 2, plan)] == [20]
    # A validation split without any of a rare group has too few of it.
    plain = many[groups(many, plan)[0].codes % 3 == 0]
    lacking = [(np.zeros((len(plain), 4)), plain), splits[1]]
    assert [len(own[0]) for own in refit._rows(0, lacking, plan)] == [800]


def test_a_control_has_its_counterfactuals_labels_but_for_what_was_added(material):
    made = material.extra[0]
    rates = made.targets["isolated"].copy()
    rates[:60] = np.where(made.added[:60], 1, [0.1, 0.2, 0.3])
    soft = replace(made, targets=made.targets | {"soft": rates})
    course = begun(replace(material, extra=(soft, material.extra[1])), "soft")
    drawn = course.objective.draw(0)
    labels = course.objective.labels(drawn)[16:]
    edited, control = labels[::2], labels[1::2]
    added = made.added[drawn.extra[::2]]
    assert (edited[added] == 1).all()
    assert (control[added] == 0).all()
    assert np.array_equal(edited[~added], control[~added])
    assert np.unique(control[~added]) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_last_weights_are_kept_where_validation_would_choose_wrongly(material, keep):
    course = begun(material, "erm", steps=30, keep=keep, patience=1)
    course.best["auc"] = 2.0  # than which no look is better
    while not course.ended:
        course.advance()
        if course.step % 5 == 0:
            course.look()
    # Patience ends what waits for a better look, and that alone.
    assert (course.step, course.best["step"]) == {"best": (5, 0), "last": (30, 30)}[keep]


def test_a_network_that_ends_otherwise_is_not_refitted(material):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3), torch.nn.Tanh())
    with pytest.raises(RetrainError, match="Leave dfr out"):
        refit.refitted(Task("dfr", 0), network, material, tiny(), CPU)


def moved(network, hosts):
    """How far the second finding's logit moves where the first is painted, the mean over hosts."""
    shown = np.array([[1, 0, 0]])
    there, gone = (
        answer(network, bands(one, 10), len(hosts), CPU) for one in (hosts + shown, hosts)
    )
    return float((there - gone)[:, 1].mean())


def test_pair_takes_away_a_planted_shortcut(material, tmp_path):
    alone, ill = {}, {}
    for arm in ("erm", "pair", "pair_hinge"):
        plan = tiny(steps=150, batch=32, share=0.5, evaluate_every=50, ema=0.9)
        done = train(Task(arm, 0), material, plan, tmp_path, accelerator_of("cpu", "no"))
        network = build("small", 3, 0, SIDE)
        network.load_state_dict(done.weights)
        alone[arm] = moved(network, np.zeros((120, 3)))
        ill[arm] = moved(network, independent(120, 9) * [0, 1, 1])
    assert alone["erm"] > 2
    for arm in ("pair", "pair_hinge"):
        assert abs(alone[arm]) < alone["erm"] / 5
        # Where hosts have findings that those of the counterfactuals had not, it is half gone.
        assert abs(ill[arm]) < 0.6 * ill["erm"]


@pytest.mark.parametrize("arm", SETTLED)
def test_every_arm_goes_on_to_the_same_weights(material, arm):
    plan = {"steps": 8, "arms": ("erm", "jtt"), "augmentation": True, "pretraining": 0.5}
    whole, killed = begun(material, arm, **plan), begun(material, arm, **plan)
    for _ in range(6):
        whole.advance()
    whole.look()
    for _ in range(3):
        killed.advance()
    kept = BytesIO()
    torch.save(killed.state(), kept)
    kept.seek(0)
    again = begun(material, arm, **plan)
    again.restore(torch.load(kept, weights_only=True))
    for _ in range(3):
        again.advance()
    again.look()
    for name, value in whole.plain.state_dict().items():
        assert torch.equal(value, again.plain.state_dict()[name]), name
    if arm == "group_dro":
        assert np.array_equal(*(one.objective.group_weights[0] for one in (whole, again)))
        assert not np.array_equal(again.objective.group_weights[0], np.full(4, 0.25))


def weights_of(folder):
    return {p.stem: p.read_bytes() for p in sorted((folder / "models").glob("*.pt"))}


def test_order_and_workers_do_not_matter(data, made, tests, tmp_path):
    arms = ("erm", *LATER_ARMS, "pair", "group_dro")
    plan = tiny(arms=arms, seeds=(0, 3), steps=3)
    words = {"training_set": made, "tests": tests}
    whole = retrain.run(data, plan, tmp_path / "whole", workers="processes:2", **words)
    # A call of later arms trains the erm that they need.
    for some in (("dfr", "jtt"), ("group_dro",), ("teacher",), ("pair", "erm")):
        last = retrain.run(data, plan, tmp_path / "apart", arms=some, **words)
    assert last.predictions.equals(whole.predictions)
    assert list(last.record["trainings"]) == [task.name for task in plan.tasks]
    assert weights_of(tmp_path / "apart") == weights_of(tmp_path / "whole")
    (row,) = (tmp_path / "apart/metrics/dfr-3.jsonl").read_text().splitlines()
    assert json.loads(row)["step"] == 0


def test_a_call_of_a_later_arm_begins_with_its_erm(data, tests, tmp_path):
    plan = tiny(arms=("erm", "oversampling", "dfr"), steps=2)
    first = retrain.run(data, plan, tmp_path, tests={}, arms=("dfr",))
    assert list(first.record["trainings"]) == ["erm-0", "dfr-0"]
