"""Parts made by a Ray cluster that loses a machine and gains another."""

from collections import Counter

import pytest

from roentmod.runs import run
from tests.runs.test_runs import all_of
from tests.runs.toy import Squares

ray = pytest.importorskip("ray", reason="needs the extra 'scale'")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_a_machine_is_lost_and_another_comes(cluster, tmp_path):
    first, _ = [cluster.add_node(num_cpus=1) for _ in range(2)]
    count, lost = 60, []

    def stages(name):
        def progress(done, total):
            if name == "first" and done >= count // 3 and not lost:
                lost.append(first)
                cluster.remove_node(first, allow_graceful=False)
                cluster.add_node(num_cpus=1)

        return progress

    note = tmp_path / "note"
    run(
        Squares(count, pause=0.1, note=note),
        tmp_path / "run",
        workers=f"ray:{cluster.address}",
        stages=stages,
    )
    assert lost
    run(Squares(count), tmp_path / "plain")
    assert all_of(tmp_path / "run") == all_of(tmp_path / "plain")
    (log,) = (tmp_path / "run" / "parts").glob("*.log")
    kept = Counter(line.split(b"\t")[0] for line in log.read_bytes().splitlines())
    assert set(kept.values()) == {1}
    assert len(kept) == count + 3
    # Only what the lost machine was at was begun twice.
    begun = Counter(line.split()[0] for line in note.read_text().splitlines())
    assert sum(begun.values()) <= count + 3 + 2
    assert len({line.split()[1] for line in note.read_text().splitlines()}) >= 3
