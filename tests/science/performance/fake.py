"""Predictions of made-up models, whose every number follows from how much they look at what."""

import numpy as np
import pandas as pd

FINDINGS = ("Atelectasis", "Cardiomegaly", "Pleural Effusion")
ARMS = ("erm", "oversampling", "reweighting", "synthetic", "isolated", "soft")
PAIR = ("Pleural Effusion", "Cardiomegaly")
# How much the head of Cardiomegaly looks at Pleural Effusion.
SHORTCUT = dict(zip(ARMS, (2.0, 1.6, 1.2, 1.6, -0.6, 0.1), strict=True))


def cases(test, where, n, rng, *, per_patient=1, findings=FINDINGS, rate=0.35):
    """Return pictures with independent labels."""
    patient = np.arange(n) // per_patient
    people = patient.max() + 1
    age = rng.integers(20, 90, people).astype(float)
    sex = rng.choice(["F", "M"], people)
    table = pd.DataFrame(
        {
            "test": test,
            "where": where,
            "image_id": [f"{test}-{i:05d}" for i in range(n)],
            "patient_id": [f"{test}-p{p}" for p in patient],
            "sex": sex[patient],
            "age": age[patient],
            "view": rng.choice(["PA", "AP"], n),
        }
    )
    return table, (rng.random((n, len(findings))) < rate).astype(float)


def read(table, labels, logits, arm, seed, findings=FINDINGS):
    """Return the rows of one model: logits n x k."""
    parts = [
        table.assign(arm=arm, seed=seed, finding=f, label=labels[:, j], logit=logits[:, j])
        for j, f in enumerate(findings)
    ]
    return pd.concat(parts, ignore_index=True)


def confounded(n=200, seeds=(0, 1), *, arms=ARMS, tests=None, seed=0, per_patient=1):
    """Return predictions in which Cardiomegaly is read from Pleural Effusion, arm by arm."""
    rng = np.random.default_rng(seed)
    parts = []
    places = tests or {"val": "val", "nih": "internal", "hannover": "external"}
    for test, where in places.items():
        table, labels = cases(test, where, n, rng, per_patient=per_patient)
        common = rng.normal(size=labels.shape)
        for arm in arms:
            for one in seeds:
                logits = 1.8 * labels + common + 0.5 * rng.normal(size=labels.shape) - 0.6
                logits[:, 1] += SHORTCUT[arm] * labels[:, 2]
                parts.append(read(table, labels, logits, arm, one))
    return pd.concat(parts, ignore_index=True)
