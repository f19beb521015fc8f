import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from roentmod import classifiers
from roentmod.classifiers import fit_probe, load_embedder
from roentmod.domain import FINDINGS
from roentmod.errors import ClassifierError, WeightsError
from tests.tiny import write_tokenizer

SIZE = 32
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
MANY = "multi_label_classification"
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]


@pytest.fixture
def images():
    levels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE))
    return (levels / 255).astype(np.float32)


def vit(labels, problem, channels=3):
    names = dict(enumerate(labels))
    config = {"image_size": SIZE, "patch_size": 8, "num_channels": channels, **TINY}
    torch.manual_seed(0)
    return ViTConfig(**config, id2label=names, problem_type=problem, initializer_range=0.5)


def write(folder, model, **processor):
    model.save_pretrained(folder)
    says = {"size": {"height": SIZE, "width": SIZE}, "image_mean": MEAN, "image_std": STD}
    says |= {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    says |= {"do_resize": True, "image_processor_type": "ViTImageProcessor"} | processor
    (folder / "preprocessor_config.json").write_text(json.dumps(says))
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    labels = ["Effusion", "Cardiomegaly", "Lung Lesion"]
    model = ViTForImageClassification(vit(labels, MANY)).eval()
    return write(tmp_path_factory.mktemp("chest") / "net", model), model


def as_transformers(model, images):
    processor = ViTImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD
    )
    levels = np.rint(images * 255).astype(np.uint8)
    colour = [np.repeat(one[..., None], 3, 2) for one in levels]
    pixels = processor(colour, return_tensors="pt")
    with torch.inference_mode():
        return model(**pixels).logits.numpy()


def test_it_answers_as_transformers_own_processor_and_model(chest, images):
    spec, model = chest
    mine = classifiers.load(spec)
    assert (mine.size, mine.name) == (SIZE, "net")
    assert mine.findings == ("Pleural Effusion", "Cardiomegaly")
    expected = as_transformers(model, images)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(mine.logits(images), expected[:, :2], atol=1e-4)
    said = mine.describe()
    assert json.loads(json.dumps(said)) == said
    assert said["input_range"] == [0, 1]
    assert said["mean"] == MEAN
    assert len(said["sha256"]) == 64
    assert said["source"] == "net"
    assert said["heads"][2]["state"] == "unmapped"


def test_two_classes_under_a_softmax_give_the_difference(tmp_path, images):
    config = vit(["NORMAL", "PNEUMONIA"], "single_label_classification")
    model = ViTForImageClassification(config).eval()
    mine = classifiers.load(write(tmp_path, model))
    assert mine.findings == ("Pneumonia",)
    logits = as_transformers(model, images)
    np.testing.assert_allclose(mine.logits(images), logits[:, 1:] - logits[:, :1], atol=1e-4)


def test_one_or_several_labels_at_once_is_never_guessed(tmp_path, images):
    model = ViTForImageClassification(vit(["Normal", "Edema", "Mass"], None)).eval()
    spec = write(tmp_path, model)
    with pytest.raises(ClassifierError, match="activation='sigmoid'"):
        classifiers.load(spec)
    logits = as_transformers(model, images)
    several = classifiers.load(spec, activation="sigmoid")
    np.testing.assert_allclose(several.logits(images), logits[:, 1:], atol=1e-4)
    one = classifiers.load(spec, activation="softmax").logits(images)
    odds = torch.from_numpy(logits).softmax(1).logit()[:, 1:]
    np.testing.assert_allclose(one, odds, atol=1e-4)


def test_the_processors_crop_is_not_taken(tmp_path):
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        id2label={0: "Edema", 1: "Mass"},
        problem_type=MANY,
    )
    torch.manual_seed(0)
    model = ResNetForImageClassification(config).eval()
    crop = {"do_center_crop": True, "crop_size": {"height": SIZE, "width": SIZE}}
    spec = write(tmp_path, model, size={"shortest_edge": 40}, **crop)
    mine = classifiers.load(spec)
    assert mine.size == SIZE
    plain = np.full((1, SIZE, SIZE), 0.25, np.float32)
    apex = plain.copy()
    apex[:, :2, 10:20] = 1
    assert not np.allclose(mine.logits(plain), mine.logits(apex), atol=1e-5)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    with torch.inference_mode():
        batch = torch.from_numpy((np.repeat(apex[:, None], 3, 1) - mean) / std)
        expected = model(batch).logits.numpy()
    np.testing.assert_allclose(mine.logits(apex), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("processor", "low_high"),
    [({"do_rescale": False}, [0, 255]), ({"rescale_factor": 2 / 255}, [0, 2])],
)
def test_other_ranges(tmp_path, chest, processor, low_high):
    said = classifiers.load(write(tmp_path, chest[1], **processor)).describe()
    assert said["input_range"] == low_high


def test_one_channel(tmp_path, images):
    model = ViTForImageClassification(vit(["Edema", "Mass"], MANY, 1)).eval()
    mine = classifiers.load(write(tmp_path, model, image_mean=[0.5], image_std=[0.25]))
    with torch.inference_mode():
        expected = model(torch.from_numpy((images[:, None] - 0.5) / 0.25)).logits.numpy()
    np.testing.assert_allclose(mine.logits(images), expected, atol=1e-4)


def test_a_head_without_weights_is_refused(tmp_path):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    ViTModel(vit(["Edema", "Mass"], MANY), add_pooling_layer=False).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"must be complete; 2 are missing \(classifier"):
        classifiers.load(f"hf:{tmp_path}", input_range=(0, 1))


def test_without_a_processor_the_range_must_be_given(tmp_path, chest):
    chest[1].save_pretrained(tmp_path)
    with pytest.raises(ClassifierError, match=r"'range' is missing.*give input_range="):
        classifiers.load(f"hf:{tmp_path}")
    assert classifiers.load(f"hf:{tmp_path}", input_range=(-1, 1)).size == SIZE


def test_nothing_there(tmp_path):
    with pytest.raises(WeightsError, match=r"folder with config\.json"):
        classifiers.load(f"hf:{tmp_path}")


@pytest.fixture(scope="module")
def zero_shot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    size = write_tokenizer(folder)
    torch.manual_seed(0)
    text = {"vocab_size": size, "max_position_embeddings": 40, "bos_token_id": 0}
    text |= {"eos_token_id": 1, "pad_token_id": 1, **TINY}
    config = CLIPConfig(
        text_config=text,
        vision_config={"image_size": SIZE, "patch_size": 8, **TINY},
        projection_dim=8,
        initializer_factor=5.0,
    )
    model = CLIPModel(config).eval()
    write(folder, model)
    return folder, model


@pytest.mark.parametrize("form", ["hf", "clip"])
def test_a_folder_at_home(form, chest, zero_shot, images, monkeypatch):
    """Behind a form's colon no shell expands the tilde."""
    folder = Path(chest[0].removeprefix("hf:")) if form == "hf" else zero_shot[0]
    monkeypatch.setenv("HOME", str(folder.parent))
    mine, other = (classifiers.load(f"{form}:{place}") for place in (f"~/{folder.name}", folder))
    assert mine.describe() == other.describe()
    assert np.array_equal(mine.logits(images), other.logits(images))
    mine, other = (load_embedder(f"hf:{place}") for place in (f"~/{folder.name}", folder))
    assert np.array_equal(mine.embed(images), other.embed(images))


def test_zero_shot_is_clips_own_logits(zero_shot, images):
    folder, model = zero_shot
    mine = classifiers.load(f"clip:{folder}")
    assert mine.findings == tuple(f.name for f in FINDINGS if f.name != "No Finding")
    prompts = mine.describe()["prompts"]
    assert prompts["Edema"] == ["pulmonary edema", "no pulmonary edema"]
    tokens = CLIPTokenizer.from_pretrained(folder)(
        prompts["Edema"], padding=True, return_tensors="pt"
    )
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    pixels = torch.from_numpy((np.repeat(images[:, None], 3, 1) - mean) / std)
    with torch.inference_mode():
        both = model(**tokens, pixel_values=pixels).logits_per_image
    chance = both.softmax(1)[:, 0].logit().numpy()
    answer = mine.logits(images)[:, mine.findings.index("Edema")]
    assert np.ptp(answer) > 1e-4
    np.testing.assert_allclose(answer, chance, atol=1e-3)


def test_prompts_and_labels_are_chosen(zero_shot, images):
    spec = f"clip:{zero_shot[0]}"
    prompts = {"Edema": ("wet lungs", "dry lungs"), "Rib": ("broken rib", "whole ribs")}
    mine = classifiers.load(spec, labels=["Edema", "Mass", "Rib"], prompts=prompts)
    assert mine.findings == ("Edema", "Mass")
    assert mine.heads[2].state == "unmapped"
    assert mine.describe()["prompts"]["Rib"] == ["broken rib", "whole ribs"]
    plain = classifiers.load(spec, labels=["Edema", "Mass"]).logits(images)
    assert not np.allclose(mine.logits(images)[:, 0], plain[:, 0], atol=1e-5)
    np.testing.assert_allclose(mine.logits(images)[:, 1], plain[:, 1], atol=1e-4)
    with pytest.raises(ClassifierError, match="Rib has none"):
        classifiers.load(spec, labels=["Edema", "Rib"])


def test_a_classifier_is_no_zero_shot_model(chest):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = chest[0].removeprefix("hf:")
    with pytest.raises((ClassifierError, WeightsError)):
        classifiers.load(f"clip:{folder}")


def test_a_tower_without_pooled_output_is_averaged(chest, images):
    spec, model = chest
    vectors = load_embedder(spec).embed(images)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    pixels = torch.from_numpy((np.repeat(images[:, None], 3, 1) - mean) / std)
    with torch.inference_mode():
        expected = model.vit(pixels).last_hidden_state.mean(1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


def test_towers_embed_for_a_probe(zero_shot, tmp_path, images):
    folder, _ = zero_shot
    embedder = load_embedder(f"hf:{folder}")
    vectors = embedder.embed(images)
    assert vectors.shape == (5, 8)
    mine = fit_probe(embedder, images, {"Edema": [0, 1, 0, 1, 1]}, tmp_path)
    again = classifiers.load(f"probe:{tmp_path}", trust=True)
    np.testing.assert_array_equal(again.logits(images), mine.logits(images))


@pytest.mark.parametrize(
    "changes",
    [
        {"id2label": 5},
        {"hidden_size": "big"},
        {"num_attention_heads": 0},
        {"image_size": [1, 2, 3, 4]},
        {"model_type": ["vit"]},
        {"num_channels": 7},
    ],
)
def test_configurations_of_any_kind_end_in_one_line(tmp_path, chest, changes):
    spec = write(tmp_path, chest[1])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises((ClassifierError, WeightsError)) as caught:
        classifiers.load(spec)
    assert str(caught.value).isprintable()
