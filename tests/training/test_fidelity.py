"""docs/fidelity.md is what bench/fidelity.json says."""

import json

from bench import weights
from bench.fidelity import JSON, PAGE, failed, page


def test_the_page_follows_from_the_figures():
    figures = json.loads(JSON.read_text(encoding="utf-8"))
    own = weights.headed(page(figures), figures, weights.of(JSON).weights)
    assert own == PAGE.read_text(encoding="utf-8")


def test_every_failed_check_is_told():
    checks = [
        {"check": "retrieval", "value": 0.35, "state": "failed"},
        {"check": "success", "value": 0.9, "state": "passed"},
        {"check": "prompt_icc", "value": None, "state": "not measured"},
    ]
    figures = json.loads(JSON.read_text(encoding="utf-8"))["painter"]
    assert failed(checks) == {"retrieval": 0.35}
    told = page({"painter": figures | {"failed": failed(checks), "minutes": 1.0}})
    (line,) = [line for line in told.splitlines() if line.startswith("- `painter`")]
    assert line.endswith("nearest baseline is their own: 35%.")
