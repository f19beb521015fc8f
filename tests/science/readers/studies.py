"""Small reader studies whose truth is known."""

import pandas as pd

from roentmod.science.readers import simulated

FINDINGS = ("Edema", "Pleural Effusion", "Cardiomegaly", "Consolidation")


def truth(edits=40, positives=24, normals=20, repeats=10, attention=4, findings=FINDINGS):
    """One patient per case; repeats are of edits."""
    rows = []
    for kind, count, names in (
        ("edit", edits, findings),
        ("real_positive", positives, findings),
        ("real_normal", normals, ("",)),
        ("attention", attention, findings[:1]),
    ):
        for n in range(count):
            name = names[n % len(names)]
            about = {"finding": name, "present": [name] if name else [], "of": ""}
            about |= {"side": "left" if name else "", "severity": "mild" if name else ""}
            rows.append({"case": f"{kind}{n}", "kind": kind, "patient": f"p{kind}{n}"} | about)
    rows += [
        row | {"case": f"repeat{n}", "kind": "repeat", "of": row["case"]}
        for n, row in enumerate(rows[:repeats])
    ]
    return pd.DataFrame(rows)


def held(table, skill=None, readers=5, seed=0, pairs=0, careless=(), **options):
    """Return the answers of simulated readers; those of `careless` answer at random."""
    skill = skill or simulated.Skill()
    names = [f"r{n}" for n in range(readers)]
    people = simulated.drawn(skill, names, seed)
    people.loc[people["reader"].isin(careless), "lapses"] = 1.0
    shown = simulated.order(table["case"].tolist(), names, seed)
    two = [
        {"reader": name, "session": 2, "position": 1000 + n, "case": f"edit{n}"}
        | {"other": f"real_positive{n}"}
        for name in names
        for n in range(pairs)
    ]
    shown = pd.concat([shown, pd.DataFrame(two, columns=shown.columns)], ignore_index=True)
    return simulated.answers(table, people, shown, options.pop("findings", FINDINGS), skill,
                             seed=seed, **options)  # fmt: skip
