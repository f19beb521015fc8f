"""Calibrating the judge, and how well it reads patients it has not seen."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from roentmod.science.stats import auc
from training import cohort, measures
from training.judge_pictures import FINDINGS, KINDS, SIDED, Row, canonical, is_host

Floats = NDArray[np.floating]
Bank = dict[str, Tensor]
HOST, PAINTED, REAL = (KINDS.index(name) for name in ("host", "painted", "real"))
# Share of real positives that calibration assumes, as in training batches.
_REAL_SHARE = 0.125


def calibration(logits: Floats, sides: Floats, bank: Bank) -> dict[str, dict[str, Any]]:
    """Return slope and offset of every logit and side logit, fitted on `bank`."""
    each = _importance(bank)
    result = {}
    for name, values, prefix in (("logits", logits, ""), ("sides", sides, "side_")):
        target, weight = (bank[f"{prefix}{part}"].numpy() for part in ("target", "weight"))
        lines = np.zeros((2, *values.shape[1:]))
        for at in np.ndindex(*values.shape[1:]):
            column = (slice(None), *at)
            lines[(slice(None), *at)] = measures.fit_line(
                values[column], target[column], weight[column] * each
            )
        result[name] = {"slope": lines[0].tolist(), "offset": lines[1].tolist()}
    return result


def calibrated(values: Floats, line: dict[str, Any]) -> Floats:
    """Return values times slope plus offset."""
    slope, offset = (np.array(line[part], np.float64) for part in ("slope", "offset"))
    return values * slope + offset


def _importance(bank: Bank) -> Floats:
    """Return a weight a picture that gives real positives their share."""
    real = (bank["kind"] == REAL).numpy()
    if not real.any() or real.all():
        return np.ones(len(real))
    share = float(real.mean())
    return np.where(real, _REAL_SHARE / share, (1 - _REAL_SHARE) / (1 - share))


def calibration_error(logits: Floats, bank: Bank) -> dict[str, float]:
    """Return each finding's calibration error on patients that did not fit the calibration.

    Patients are halved; each half is judged with the other half's line.
    """
    fold = (bank["patient"] % 2).numpy()
    each = _importance(bank)
    target, weight = bank["target"].numpy(), bank["weight"].numpy() * each[:, None]
    errors = {}
    for k, name in enumerate(FINDINGS):
        probability = np.zeros(len(logits))
        for half in (0, 1):
            fit, use = fold != half, fold == half
            line = measures.fit_line(logits[fit, k], target[fit, k], weight[fit, k])
            probability[use] = 1 / (1 + np.exp(-(logits[use, k] * line[0] + line[1])))
        known = weight[:, k] > 0
        error = measures.calibration_error(probability[known], target[known, k], weight[known, k])
        errors[name] = round(error, 4)
    return errors


def held_out(logits: Floats, sides: Floats, bank: Bank) -> dict[str, Any]:
    """Return AUROC painted and real, sides told right, and how the logit follows the dose."""
    kind, target, known = bank["kind"].numpy(), bank["target"].numpy(), bank["weight"].numpy() > 0
    painted, host, real = kind == PAINTED, kind == HOST, kind == REAL
    sure = bank["weight"].numpy()[:, 0] == 1
    figures: dict[str, Any] = {name: {} for name in ("auroc_painted", "auroc_real", "positives")}
    figures |= {"dose_spearman": {}, "side_right": _sides(sides, bank)}
    for k, name in enumerate(FINDINGS):
        value, present, ask = logits[:, k], target[:, k] == 1, known[:, k]
        shown = painted & present
        figures["auroc_painted"][name] = _auroc(
            value[shown], value[(painted | host) & ask & ~present]
        )
        figures["auroc_real"][name] = _auroc(value[real & present], value[host & sure & ask])
        figures["positives"][name] = [int(shown.sum()), int((real & present).sum())]
        alone = shown & (target.sum(1) == 1)
        figures["dose_spearman"][name] = _spearman(bank["dose"].numpy()[alone, k], value[alone])
    return figures


def _sides(sides: Floats, bank: Bank) -> dict[str, float | None]:
    """Return the fraction of one-sided painted findings whose side scores higher."""
    target, weight = bank["side_target"].numpy(), bank["side_weight"].numpy()
    figures = {}
    for j, name in enumerate(SIDED):
        one = (weight[:, j].min(1) > 0) & (target[:, j].sum(1) == 1)
        right = (sides[one, j].argmax(1) == target[one, j].argmax(1)).mean() if one.any() else None
        figures[name] = None if right is None else round(float(right), 4)
    return figures


def unused_patients(data: Path) -> tuple[Tensor, list[tuple[str, ...]]]:
    """Return pictures and findings of `mini`'s trusted training radiographs, which are new here.

    All with a finding of the judge, and one No Finding for each.
    """
    with (data / "index.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if cohort.keep(r) and "conflict" not in r["tier"]]
    shown = [r for r in rows if not is_host(r) and set(canonical(r)) & set(FINDINGS)]
    normal = [r for r in rows if r["labels"] == cohort.NO_FINDING]
    picked: list[Row] = shown + normal[:: max(1, len(normal) // max(1, len(shown)))]
    pixels = torch.from_numpy(np.stack([cohort.square(data / r["path"]) for r in picked]))
    return pixels, [canonical(r) for r in picked]


def real(logits: Floats, labels: list[tuple[str, ...]]) -> dict[str, float | None]:
    """Return each finding's AUROC, its real positives against real No Finding."""
    normal = np.array([names == (cohort.NO_FINDING,) for names in labels])
    return {
        name: _auroc(logits[np.array([name in names for names in labels]), k], logits[normal, k])
        for k, name in enumerate(FINDINGS)
    }


def _auroc(positive: Floats, negative: Floats) -> float | None:
    value = auc(positive, negative)
    return round(value, 4) if np.isfinite(value) else None


def _spearman(dose: Floats, value: Floats) -> float | None:
    return round(float(stats.spearmanr(dose, value).statistic), 4) if len(dose) > 9 else None


def table(card: dict[str, Any]) -> str:
    """Return the card's figures as lines of text."""
    columns = (
        "auroc_painted",
        "auroc_real",
        "auroc_real_training_patients_of_mini",
        "dose_spearman",
        "side_right",
        "calibration_error",
    )
    lines = [f"{'':18}" + "".join(f"{c[:22]:>23}" for c in columns)]
    for name in card["findings"]:
        cells = (card["figures"][column].get(name) for column in columns)
        shown = "".join(f"{'-' if c is None else f'{c:.3f}':>23}" for c in cells)
        lines.append(f"{name:18}" + shown)
    return "\n".join(lines)
