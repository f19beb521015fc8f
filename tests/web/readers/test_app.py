"""A whole study through the pages, and what is stored of it."""

from roentmod.jobs.readers.answers import read_answers, read_truth
from tests.web.readers.studies import Clock, Reader, client, opened


def test_a_reader_answers_everything_once(study):
    clock = Clock()
    desk, app = opened(study.folder, clock)
    name = study.readers[0]
    with client(app) as browser:
        reader = Reader(browser).enter(desk.link(name))
        while reader.field("question") or 'action="/go-on"' in reader.page:
            clock.turn(seconds=3)
            reader.read(most=1)
        assert "Thank you" in reader.page
        progress = {one.name: one for one in desk.sitting.progress()}
    table = read_answers(study.folder)
    truth = read_truth(study.folder)
    assert progress[name].done == progress[name].total == len(study.steps[name])
    assert progress[study.readers[1]].done == 0
    assert len(table) == len(reader.answered)
    assert not table.duplicated(["reader", "case", "question"]).any()
    hidden = {desk.sitting.hidden(name, case): case for case in truth["case"]}
    stored = {(one.case, one.question): one.value for one in table.itertuples()}
    assert stored == {(hidden[c], q): value for (c, q), value in reader.answered.items()}
    order = [step.case for step in study.steps[name]]
    assert list(dict.fromkeys(table["case"])) == list(dict.fromkeys(order))
    assert list(dict.fromkeys(table["position"])) == list(range(1, len(order) + 1))
    assert set(table["client_ms"]) == {1200}
    assert set(table["server_ms"]) == {3000}
    assert set(table["block"]) == {"findings", "realism", "pairs"}
    assert (table.loc[table["block"] == "pairs", "other"] != "").all()
