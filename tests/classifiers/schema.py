"""Makes docs/classifiers.schema.json from the code (`make docs`); a test checks it for drift."""

import json

from pydantic.json_schema import models_json_schema

from roentmod.classifiers.card import Card
from roentmod.classifiers.remote import Answer, Batch, Description


def schema():
    """Return one schema with a definition per kind of message."""
    kinds = (Card, Description, Batch, Answer)
    _, made = models_json_schema([(kind, "validation") for kind in kinds])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
