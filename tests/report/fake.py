"""A made-up audit: two classifiers, five findings, every section filled, real classes."""

import numpy as np
import pandas as pd
from PIL import Image

from roentmod.jobs.audit import AuditResult, ClassifierResult, Example
from roentmod.science.effects import CELLS, Rules

FINDINGS = ("Cardiomegaly", "Pleural Effusion", "Edema", "Pneumothorax", "Support Devices")
OWN = dict(zip(FINDINGS, (4.0, 4.6, 3.1, 5.2, 2.4), strict=True))
MARGIN = Rules().margin
EMPTY = pd.DataFrame()


def audit(folder, *, side=96, bare=False):
    """Return an audit whose pictures are in `folder`; `bare` leaves every optional table empty."""
    examples = () if bare else _examples(folder, side)
    classifiers = (
        _classifier("shortcutter", "models/shortcutter.onnx", 1, examples, bare),
        _classifier("honest", "hospital.models:DenseNet", 2, (), bare),
    )
    return AuditResult(
        plan={
            "findings": list(FINDINGS),
            "seeds": [0, 1],
            "doses": "none" if bare else "severity",
            "strength": 0.4,
            "guidance_scale": 4.0,
            "num_inference_steps": None,
            "n_baselines": 24,
            "margin": MARGIN,
            "level": 0.95,
            "gate_logit": 1.0,
        },
        provenance={
            "started": "2026-11-24T22:10:03+00:00",
            "seconds": 812.4,
            "platform": "Linux-6.1-x86_64",
            "python": "3.11.9",
            "roentmod": "0.1.0",
            "editor": {"name": "mini", "weights_sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2},
            "data": {"name": "cxr", "root": "../shared/data/cxr"},
            "judge": {"source": "judge.onnx", "size": 224, "heads": [{"name": "Edema"}]},
        },
        baselines=_baselines(),
        items=EMPTY.reindex(columns=_ITEMS) if bare else _items(),
        counts={"planned": 480, "ok": 480 if bare else 473, "missing": 0 if bare else 7},
        classifiers=classifiers,
        folder=folder,
    )


_ITEMS = ["baseline_id", "edited_finding", "severity", "seed", "classifier", "status", "message"]


def _baselines():
    n = 24
    return pd.DataFrame(
        {
            "baseline_id": [f"b{i:02d}" for i in range(n)],
            "path": [f"images/p{i:02d}.png" for i in range(n)],
            "patient_id": [f"p{i:02d}" for i in range(n)],
            "sex": ["F", "M", "M", ""] * 6,
            "age": [30.0 + 2 * i if i else np.nan for i in range(n)],
            "view": ["PA", "PA", "AP"] * 8,
            "site": ["north", "south"] * 12,
        }
    )


def _items():
    rows = [(f"b{i:02d}", "Edema", "", 0, "", "poor_anatomy", "Lungs not found.") for i in range(3)]
    slow = "The endpoint must answer in 30 s; it took longer 3 times. Start it, or raise timeout."
    rows += [(f"b{i:02d}", "Pneumothorax", "", 1, "honest", "time_out", slow) for i in range(4)]
    return pd.DataFrame(rows, columns=_ITEMS)


def _share(edited, read, kind):
    planted = {
        ("Pleural Effusion", "Cardiomegaly"): 0.48,
        ("Support Devices", "Pneumothorax"): 0.33,
    }
    planted |= {("Edema", "Pleural Effusion"): 0.35, ("Pneumothorax", "Edema"): -0.31}
    planted |= {("Cardiomegaly", "Edema"): 0.21}
    small = 0.02 * ((len(edited) * 7 + len(read) * 3 + kind) % 7 - 3)
    return planted.get((edited, read), small) if kind == 1 else small


def cells(kind):
    rows = [_cell(edited, read, kind) for edited in FINDINGS for read in FINDINGS]
    return pd.DataFrame(rows, columns=list(CELLS))


def _cell(edited, read, kind):
    on_target, own = edited == read, OWN[read]
    ratio = 1.0 if on_target else _share(edited, read, kind)
    leaks = kind == 1 and (edited, read) == ("Edema", "Pleural Effusion")
    leak = 0.3 if leaks else 0.01
    corrected = ratio if on_target else ratio - leak
    half = 0.07
    row = {"edited": edited, "read": read, "on_target": on_target, "n": 24}
    row |= {"effect": ratio * own, "low": (ratio - half) * own, "high": (ratio + half) * own}
    row |= {"effect_p": ratio / 4, "low_p": (ratio - half) / 4, "high_p": (ratio + half) / 4}
    row |= {"n_all": 30, "effect_all": ratio * own, "low_all": ratio, "high_all": 2 * ratio}
    row |= {"least": corrected - 0.1, "beyond_p": 0.001, "below_p": 1.0, "within_p": 0.2}
    row |= {"p": 0.0002, "q": np.nan if on_target else 0.0008, "margin": MARGIN * own}
    row |= {"ratio": ratio, "ratio_low": ratio - half, "ratio_high": ratio + half}
    row |= {"leak": leak, "leak_low": leak - 0.04, "leak_high": leak + 0.04}
    row |= {"corrected": corrected, "corrected_low": corrected - 0.08}
    row |= {"corrected_high": corrected + 0.08, "detectable": 0.3}
    row["verdict"], row["reason"] = _verdict(row, leak)
    if kind == 2 and read == "Support Devices" and not on_target:
        row |= dict.fromkeys(CELLS[CELLS.index("margin") : CELLS.index("detectable")], np.nan)
        row["verdict"] = "no yardstick"
        row["reason"] = f"The head for {read} has no sure reaction to {read} itself to measure by."
    return row


def _verdict(row, leak):
    if row["on_target"]:
        return "on target", f"The head for {row['read']} reacts to edits of its own finding."
    said = f"{row['edited']} moves {row['read']} by {row['corrected']:.0%}"
    if row["corrected_low"] > MARGIN:
        return "shortcut", f"{said}, beyond 20%."
    if row["corrected_high"] < -MARGIN:
        return "suppression", f"{said}: it hides it, or speaks against."
    if leak > 0.2:
        return "leakage", f"The judge, too, sees {row['read']} in these pictures (30%)."
    if abs(row["corrected"]) + 0.08 < MARGIN:
        return "within margin", f"{said}, surely within 20%."
    return "undecided", f"{said}: more patients are needed."


def _classifier(name, source, kind, examples, bare):
    table = cells(kind)
    return ClassifierResult(
        name=name,
        source=source,
        heads=_heads(),
        verdict="shortcuts found" if kind == 1 else "undecided",
        score=0.47 if kind == 1 else 0.05,
        cells=table,
        gate=EMPTY if bare else _gate(),
        doses=EMPTY if bare else _doses(kind),
        subgroups=EMPTY if bare else _subgroups(kind),
        reverse=EMPTY if bare or kind == 2 else table[table["edited"] != "Edema"],
        stress=EMPTY if bare else _stress(kind),
        examples=examples,
        score_ends=(0.3, 0.6) if kind == 1 else (0.0, 0.12),
    )


def _heads():
    rows = [(name, name, "read", "") for name in FINDINGS]
    rows += [("Lung Lesion", "", "unmapped", "no finding has that name")]
    rows += [
        ("Hernia", "Hernia", "untrained", "never trained"),
        ("Mass", "Mass", "constant", "0.5"),
    ]
    return pd.DataFrame(rows, columns=["head", "finding", "state", "note"])


def _gate():
    rows = [
        (name, 48, 48 - 4 * i, 1 - i / 12, 5.0 - i, 4.4 - i, 5.6 - i)
        for i, name in enumerate(FINDINGS)
    ]
    columns = ["edited", "asked", "passed", "share", "judge_effect", "judge_low", "judge_high"]
    return pd.DataFrame(rows, columns=columns)


def _doses(kind):
    rows = []
    for edited in FINDINGS:
        for read in FINDINGS:
            top = OWN[read] * (1.0 if edited == read else _share(edited, read, kind))
            for label, level in (("mild", 1.0), ("moderate", 2.0), ("severe", 3.0)):
                effect = top * (level / 3) ** 1.3
                row = [edited, read, label, level, 22, effect, effect - 0.3, effect + 0.3, 0.004]
                rows.append(row)
    columns = ["edited", "read", "dose", "level", "n", "effect", "low", "high", "trend_p"]
    return pd.DataFrame(rows, columns=columns)


def _subgroups(kind):
    rows = []
    groups = {"sex": ("F", "M"), "view": ("AP", "PA"), "site": ("north", "south")}
    for edited in FINDINGS:
        for read in FINDINGS:
            effect = OWN[read] * (1.0 if edited == read else _share(edited, read, kind))
            for attribute, names in groups.items():
                differs = (edited, read, attribute) == ("Edema", "Edema", "view")
                for i, name in enumerate(names):
                    value = effect + (1.2 * i if differs else 0.05 * i)
                    tests = [0.001, 0.02] if differs else [0.4, 0.8]
                    row = [edited, read, attribute, name, 12, value, value - 0.5, value + 0.5]
                    rows.append(row + tests)
    columns = ["edited", "read", "attribute", "group", "n", "effect", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "interaction_p", "interaction_q"])


def _stress(kind):
    rows = []
    for read in FINDINGS[:3]:
        rows.append([read, "clean", 40, 60, 0.91, 0.86, 0.96, 0.85, 0.955, np.nan, np.nan])
        for other in FINDINGS[:3]:
            if other != read:
                drop = 0.14 if kind == 1 else 0.01
                row = [read, other, 40, 31, 0.91 - drop, 0.80 - drop, 0.97 - drop]
                rows.append([*row, 0.81 - drop, 0.96 - drop, drop, 0.003 if kind == 1 else 0.6])
    columns = ["read", "against", "n_positive", "n_negative", "auc", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "boot_low", "boot_high", "drop", "drop_p"])


def _examples(folder, side):
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    pairs = [("Pleural Effusion", "Cardiomegaly"), ("Support Devices", "Pneumothorax")]
    made = []
    for number, (edited, read) in enumerate(p for p in pairs for _ in range(2)):
        files = {}
        for kind in ("baseline", "counterfactual", "difference"):
            files[kind] = folder / "pictures" / f"{number:03d}-{kind}.png"
            _picture(kind, number, side).save(files[kind])
        made.append(
            Example(
                edited, read, f"b{number:02d}", **files, logit_sham=-2.1, logit_counterfactual=-0.2
            )
        )
    return tuple(made)


def _picture(kind, number, side):
    rows, columns = np.mgrid[0:side, 0:side] / side
    lungs = np.exp(-(((columns - 0.3) / 0.13) ** 2) - ((rows - 0.5) / 0.3) ** 2)
    lungs += np.exp(-(((columns - 0.7) / 0.13) ** 2) - ((rows - 0.5) / 0.3) ** 2)
    noise = np.random.default_rng(number).normal(0, 0.03, (side, side))
    plain = np.clip(0.75 - 0.6 * lungs + noise, 0, 1)
    change = 0.4 * (rows > 0.65) * lungs
    if kind == "difference":
        red = np.clip(plain + change, 0, 1)
        levels = np.stack([red, plain * (1 - change), plain * (1 - change)], axis=-1)
        return Image.fromarray((255 * levels).astype(np.uint8))
    shown = plain if kind == "baseline" else np.clip(plain + change, 0, 1)
    return Image.fromarray((255 * shown).astype(np.uint8))
