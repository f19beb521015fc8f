"""Small pictures whose findings are bright bands, and plans that train on them in seconds."""

import numpy as np

from roentmod import datasets, imaging
from roentmod.jobs import augment
from roentmod.jobs.retrain import RetrainPlan
from roentmod.learning.pictures import make_block, open_blocks
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


def gathered(samples, folder, size, through):
    """Make the pictures of samples, all in one block, and open them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [str(name) for name in samples.table["image_id"]]
    block, unread = make_block(samples, names, size, through)
    np.save(folder / f"{samples.name}.npy", block)
    return open_blocks(samples, [folder / f"{samples.name}.npy"], unread)
