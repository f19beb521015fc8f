"""An audit by processes, by shards of a job array, and by a cluster that loses a machine."""

from collections import Counter
from functools import partial
from multiprocessing import get_context

import pytest

from roentmod.errors import UnfinishedError
from roentmod.jobs import audit
from tests.jobs.test_audit import demo
from tests.runs.kill import contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    demo(folder)
    return contents(folder)


def kept(folder):
    """Return how often each part was kept, over all logs."""
    logs = sorted((folder / "parts").glob("*.log"))
    return Counter(line.split(b"\t")[0] for log in logs for line in log.read_bytes().splitlines())


def test_processes_give_the_same_bytes(plain, tmp_path):
    demo(tmp_path / "run", workers="processes:2")
    assert contents(tmp_path / "run") == plain


def shard(number, folder):
    with pytest.raises(UnfinishedError):
        demo(folder, workers=f"shard:{number}/4")


def test_four_shards_in_four_processes_then_the_plain_command(plain, tmp_path):
    folder = tmp_path / "run"
    processes = [get_context("spawn").Process(target=partial(shard, n, folder)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    demo(folder)
    assert contents(folder) == plain
    assert set(kept(folder).values()) == {1}


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_loses_a_machine_and_gains_another(plain, tmp_path):
    ray = pytest.importorskip("ray", reason="needs the extra 'scale'")
    from ray.cluster_utils import Cluster

    cluster, lost = Cluster(initialize_head=True, head_node_args={"num_cpus": 0}), []
    try:
        first, _ = [cluster.add_node(num_cpus=1) for _ in range(2)]

        def stages(name):
            def progress(done, total):
                if not lost and done * 3 >= total:
                    lost.append(name)
                    cluster.remove_node(first, allow_graceful=False)
                    cluster.add_node(num_cpus=1)

            return progress

        folder = tmp_path / "run"
        demo(folder, workers=f"ray:{cluster.address}", stages=stages)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert lost == ["editing and reading"]
    assert contents(folder) == plain
    assert set(kept(folder).values()) == {1}
    assert [one.name for one in audit.load(folder)] == ["honest", "shortcut"]
