"""Small pictures whose findings are bright bands, and plans that train on them in seconds."""

import numpy as np
import pandas as pd

from roentmod import datasets, imaging
from roentmod.jobs import augment
from roentmod.jobs.retrain import RetrainPlan
from roentmod.learning.material import CONTROL, Counterfactuals, Material
from roentmod.learning.pictures import Pictures, make_block, open_blocks
from roentmod.learning.samples import Samples
from roentmod.radiograph import Radiograph
from tests.jobs.augment.parts import FINDINGS, Dabber

SIDE = 64


def picture(number, shown):
    """Noise; the band of each shown finding is brighter."""
    pixels = np.random.default_rng(number).uniform(0.2, 0.6, (SIDE, SIDE))
    for name in shown:
        top = SIDE // 4 * FINDINGS.index(name)
        pixels[top : top + SIDE // 4] += 0.3
    return np.clip(pixels, 0, 1)


def shown_in(number):
    """Which findings picture `number` shows: every combination in turn, the first two together."""
    bits = (0, 1, 2, 3, 4, 5, 6, 7, 0, 3, 3, 7)[number % 12]
    return [name for place, name in enumerate(FINDINGS) if bits >> place & 1]


def write_data(folder, splits, *, first=0, prefix="p"):
    """Write a plain folder; `splits` says how many pictures, each of a patient, each split has."""
    lines = ["path,labels,view,patient_id,age,sex,split"]
    number = first
    for split, count in splits.items():
        for _ in range(count):
            shown = shown_in(number)
            radiograph = Radiograph.from_array(picture(number, shown))
            folder.mkdir(parents=True, exist_ok=True)
            imaging.write(radiograph, folder / f"{number}.png", provenance=None)
            labels = "|".join(shown) or "No Finding"
            lines.append(f"{number}.png,{labels},PA,{prefix}{number},{40 + number % 50},F,{split}")
            number += 1
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return datasets.load(folder)


def write_training_set(data, folder):
    """Make counterfactuals of the training patients without a finding, with shams."""
    chosen = datasets.baselines(data, split="train").table
    plan = augment.AugmentPlan(
        findings=FINDINGS, ratio=2, with_shams=True, composite="baseline", gate_logit=None
    )
    return augment.run(data, chosen, Dabber(), plan, folder)


def tiny(**changes):
    """A plan of the small network that takes a second a training."""
    options = {"findings": FINDINGS, "pairs": (FINDINGS[:2],), "model": "small", "size": 16}
    options |= {"through": 32, "steps": 6, "batch": 8, "evaluate_every": 2, "seeds": (0,)}
    options |= {"arms": ("erm",), "ema": 0.5, "learning_rate": 3e-3}
    return RetrainPlan(**(options | changes))


def labelled_rows(targets, readable, more, seen, *, arm):
    """Material of rows with labels and black pictures of 16 px.

    Of `more`, the second half are the controls of the first, where they are all absent. The early
    erm says of every head that it is absent in the last ten rows, though the second is there.
    """
    half, control = len(more) // 2, np.full(len(more), -1)
    if not np.any(more[half:]):
        control[:half], control[half:] = np.arange(half, len(more)), CONTROL
    said = 2 * np.nan_to_num(targets) - 1
    said[-10:, 1] *= -1
    made = Counterfactuals(more == 1, control, {arm: more})
    black = [np.zeros((len(one), 16, 16), dtype=np.uint8) for one in (targets, more)]
    names = {"image_id": [str(number) for number in range(len(targets))]}
    rows = Samples("train", pd.DataFrame(names), targets, FINDINGS, None)
    train = rows, Pictures((black[0],), readable)
    erm = said if arm == "jtt" else np.zeros(more.shape, dtype=np.float32)
    return Material(train, train, (made, Pictures((black[1],), seen)), erm)


def gathered(samples, folder, size, through):
    """Make the pictures of samples, all in one block, and open them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [str(name) for name in samples.table["image_id"]]
    block, unread = make_block(samples, names, size, through)
    np.save(folder / f"{samples.name}.npy", block)
    return open_blocks(samples, [folder / f"{samples.name}.npy"], unread)
