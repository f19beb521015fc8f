"""The page and the schema of cards and of the protocol say what the code does."""

import base64
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from roentmod.classifiers import loading
from roentmod.classifiers.card import Card, make_card
from roentmod.classifiers.remote import Answer, Batch, Description
from tests.classifiers.schema import schema

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "classifiers.md").read_text()
MODELS = {kind.__name__: kind for kind in (Card, Description, Batch, Answer)}
EXAMPLES = dict(
    zip(MODELS, map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.S)), strict=True)
)


def fits(kind, content):
    made = schema()
    jsonschema.validate(content, {**made, "$ref": f"#/$defs/{kind}"})


def test_the_schema_is_that_of_the_code():
    kept = json.loads((DOCS / "classifiers.schema.json").read_text())
    assert kept == json.loads(json.dumps(schema())), "run make docs"


@pytest.mark.parametrize("kind", MODELS)
def test_examples_fit_schema_and_code(kind):
    fits(kind, EXAMPLES[kind])
    MODELS[kind].model_validate_json(json.dumps(EXAMPLES[kind]))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Card", {"size": "224"}),
        ("Card", {"range": "01"}),
        ("Card", {"mean": ["0.5"]}),
        ("Card", {"colour": 1}),
        ("Card", {"labels": "Edema"}),
        ("Description", {"size": "224"}),
        ("Description", {"labels": []}),
        ("Answer", {"logits": [["1.5", 0]]}),
        ("Answer", {"logits": [[True, 0]]}),
    ],
)
def test_what_the_schema_refuses_the_code_refuses(kind, changes):
    content = EXAMPLES[kind] | changes
    with pytest.raises(jsonschema.ValidationError):
        fits(kind, content)
    with pytest.raises(ValueError, match=kind):
        MODELS[kind].model_validate_json(json.dumps(content))


def test_every_form_and_every_word_of_a_card_is_on_the_page():
    for word in Card.model_fields:
        assert f"`{word}`" in PAGE
    for form in loading._BUILD:
        assert form == "entry point" or f"`{form}" in PAGE, form


def test_a_card_has_the_defaults_of_the_page():
    card = make_card(EXAMPLES["Card"], where="the page")
    assert len(card.labels) == 14
    assert card.activation == "sigmoid"
    assert card.mean == (0.485, 0.456, 0.406)


def test_a_batch_is_sent_as_the_page_says(monkeypatch):
    from roentmod.classifiers.remote import Endpoint, _Reply

    sent = []

    def once(self, method, url, body, most):
        sent.append(body)
        return _Reply(200, json.dumps(EXAMPLES["Answer"]).encode())

    monkeypatch.setattr(Endpoint, "_once", once)
    pictures = np.random.default_rng(0).random((2, 1, 16, 16), np.float32)
    labels = tuple(EXAMPLES["Answer"]["labels"])
    answer = Endpoint("http://here/read").forward(labels, "logits")(pictures)
    np.testing.assert_array_equal(answer, [[-2.1, 0.3], [0.4, np.nan]])
    batch = Batch.model_validate_json(json.dumps(sent[0]))
    fits("Batch", sent[0])
    data = np.frombuffer(base64.b64decode(batch.data), "<f4").reshape(batch.shape)
    np.testing.assert_array_equal(data, pictures[:, 0])
