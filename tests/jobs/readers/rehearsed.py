"""A frozen study without pictures, whose truth and orders are real."""

from collections import Counter

import numpy as np

from roentmod.jobs.readers import design, orders
from roentmod.jobs.readers.answers import TRUTH, truth_folder
from roentmod.plans import ReadersPlan
from roentmod.store import canonical_hash, write_json
from tests.science.readers.studies import FINDINGS, truth


def make(folder, readers=4, patients=(), altered=4, **sizes):
    """Write plan and truth of a study; nothing that serving needs.

    Edits are of `patients`, each with every finding in turn, if they are given. A picture counts as
    altered from `altered` on; None: the plan does not say.
    """
    rows = truth(**sizes).to_dict("records")
    findings = sizes.get("findings", FINDINGS)
    for n, row in enumerate(row for row in rows if row["kind"] == "edit" and patients):
        row["patient"] = patients[n // len(findings)]
    for row in rows:
        row |= {"view": "PA", "source": "phantoms", "editor": "painter"}
    shown = [orders.Shown(r["case"], r["kind"], r["patient"], r["finding"], r["of"]) for r in rows]
    rng, names = np.random.default_rng(0), [f"r-{n}" for n in range(readers)]
    some = [[one for one in shown if one.kind == kind] for kind in ("edit", "real_positive")]
    pairs = orders.pairings(*some, 10, rng)
    cases = {"nonce": "00", "cases": rows}
    content = {
        "plan": ReadersPlan(readers=readers).facts(),
        "findings": list(findings),
        "present": 4,
        **({"altered": altered} if altered else {}),
        "counts": dict(Counter(one.kind for one in shown)),
        "outcomes": ["Area under the curve of realism"],
        "exclusion": {"kind": "attention", "least": 0.75, "rule": "At least 75 % of them."},
        "orders": orders.orders(shown, pairs, {one.case: names for one in shown}, rng),
        "pictures": {},
        "notes": [],
        "truth_sha256": canonical_hash(cases),
    }
    folder.mkdir(parents=True)
    truth_folder(folder).mkdir()
    write_json(truth_folder(folder) / TRUTH, cases)
    write_json(folder / design.PLAN, content | {"hash": canonical_hash(content)})
    return folder
