"""What `mini` is told, and what is painted to teach it."""

import numpy as np
import pytest
from transformers import CLIPTokenizer

from roentmod.datasets.phantom import phantom
from roentmod.editors import BUNDLED
from roentmod.editors.painter import FORMS, form_of, paint, places, stream
from training import export, generator, painted, vocabulary


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return vocabulary.tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_every_word_is_one_token_and_prompts_fit(tokenizer):
    rng = np.random.default_rng(0)
    told = {"places": ("perihilar middle zone",) * 2, "forms": ("lower lobe", "spiculated")}
    example = vocabulary.Example(("Consolidation", "Nodule"), "left", "moderate", 0, **told)
    said = [vocabulary.say(example, rng) for _ in range(200)]
    assert any("moderate perihilar left middle zone consolidation, lower lobe" in s for s in said)
    # By chance each is left out.
    alone = vocabulary.Example(
        ("Nodule",), "left", "moderate", 0, *((t[1],) for t in told.values())
    )
    shown = [vocabulary.say(alone, rng) for _ in range(200)]
    for word in ("middle zone", "spiculated", "left"):
        assert 0.8 < np.mean([word in s for s in shown]) < 1
    for words in said:
        assert len(tokenizer(words).input_ids) <= vocabulary.LENGTH
    for form in {form for shares in FORMS.values() for form in shares}:
        assert len(tokenizer(form).input_ids) - 2 == len(form.replace("-", " - ").split()), form


def test_words_of_earlier_weights_keep_their_states(tmp_path, monkeypatch):
    words = vocabulary.corpus()
    monkeypatch.setattr(vocabulary, "corpus", lambda: [*words, "quokka", "zygapophysis"])
    tokenizer = vocabulary.tokenizer(tmp_path)
    model = generator.Generator(tokenizer)
    before = model.text.get_input_embeddings().weight.detach().clone()
    model.begin(BUNDLED["mini"])
    after = model.text.get_input_embeddings().weight.detach()
    earlier = CLIPTokenizer.from_pretrained(BUNDLED["mini"] / "tokenizer").get_vocab()
    own = tokenizer.get_vocab()
    new = [i for token, i in own.items() if token not in earlier]
    assert new
    assert np.array_equal(after[new], before[new])
    both = [i for token, i in own.items() if token in earlier]
    assert not np.isclose(after[both], before[both]).all(1).any()


def test_a_lesion_is_painted_where_it_is_said():
    body = phantom(1, size=224)
    pixels = body.radiograph.pixels
    rng = np.random.default_rng(0)
    asked = painted.Request(0, ("Mass",), "left", "severe", ("smooth",))
    seen = set()
    for key in range(4):
        picture, (place,) = painted.carry_out(
            np.rint(pixels * 255).astype(np.uint8), body.anatomy, asked, key
        )
        assert picture.dtype == np.uint8
        seen.add(place)
    assert len(seen) > 1
    # One seed per place: the same place is the same lesion.
    drawn = [painted.seed_of("Nodule", "left", rng) for _ in range(60)]
    assert len(set(drawn)) <= 15
    seed = drawn[0]
    place = places.draw("Nodule", stream("Nodule", seed, "left"))
    assert abs(place.down * 5 % 1 - 0.5) < 0.25
    form = form_of("Nodule", seed)
    assert np.array_equal(
        paint(pixels, body.anatomy, "Nodule", side="left", seed=seed).image,
        paint(pixels, body.anatomy, "Nodule", side="left", seed=seed, form=form).image,
    )


def test_what_a_host_shows_is_not_painted_again():
    rng = np.random.default_rng(0)
    pairs = [painted.requests_for(0, ("Mass", "Edema"), rng) for _ in range(80)]
    assert not {name for pair in pairs for one in pair for name in one.findings} & {"Mass", "Edema"}
    for one, two in pairs:
        assert (one.findings, one.side, one.forms) == (two.findings, two.side, two.forms)
        assert one.severity != two.severity


def test_usual_looks_are_forms_by_share_and_places_as_painted():
    row = {"findings": "Nodule", "forms": "smooth"}
    rows = [row | {"places": place} for place in ("perihilar base", "perihilar base", "apex", "")]
    rows += [{"findings": "Hernia", "forms": "", "places": ""}]
    rows += [{"findings": "Edema|Mass", "forms": "alveolar|smooth", "places": "|"}]
    share = FORMS["Nodule"]["smooth"]
    assert export.usual(rows) == {
        "Nodule": {
            "smooth": {"apex": round(share / 3, 4), "perihilar base": round(share * 2 / 3, 4)}
        }
    }
