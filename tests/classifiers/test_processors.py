"""Image processors of transformers' classifiers: read as they are, or refused."""

import json

import numpy as np
import pytest
import transformers
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from roentmod.classifiers.card import make_card
from roentmod.classifiers.huggingface import declared_input
from roentmod.errors import ClassifierError

REFUSED = {
    "donut-swin": "makes 1x3x2560x1920 of it",  # pads to a page
    "imagegpt": "Clusters must be provided",  # turns pictures into words
    "siglip2": "makes 1x256x768 of it",  # patches
    # Crops more than it has by default; the published ones do not.
    "mobilevit": "adds a border",
    "mobilevitv2": "adds a border",
}
# Their libraries replace torch by another build: tests/extras.
ELSEWHERE = {"timm_wrapper": "timm", "pp_lcnet": "torchvision"}


def processors():
    """The processor of each model type that has an image classifier."""
    for kind in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        names = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind)
        if names:
            yield kind, names.get("pil") or names["torchvision"]


class Config:
    num_channels = 3


def saved(folder, processor):
    """The processor's files, and a picture's tensor by itself at the size that it makes."""
    processor.save_pretrained(folder)
    side = np.shape(processor(np.zeros((600, 600, 3), np.uint8), return_tensors="np").pixel_values)[
        -1
    ]
    levels = np.random.default_rng(1).integers(0, 256, (side, side)).astype(np.uint8)
    theirs = processor(
        np.repeat(levels[..., None], 3, 2),
        return_tensors="np",
        do_resize=False,
        do_center_crop=False,
    )
    return levels, np.asarray(theirs["pixel_values"], np.float32)


def ours(folder, levels):
    words = declared_input(str(folder), None, Config()) | {"labels": ["Edema"], "outputs": "logits"}
    card = make_card(words, where="here")
    assert card.size == len(levels)
    return card.prepare(levels[None].astype(np.float32) / 255)


@pytest.mark.parametrize(("kind", "name"), list(processors()))
def test_every_processor_of_a_classifier_gives_its_own_tensor_or_is_refused(tmp_path, kind, name):
    if kind in ELSEWHERE:
        pytest.importorskip(ELSEWHERE[kind])
    processor = getattr(transformers, name)()
    if kind in REFUSED:
        processor.save_pretrained(tmp_path)
        with pytest.raises(ClassifierError, match=REFUSED[kind]) as caught:
            declared_input(str(tmp_path), None, Config())
        assert "\n" not in str(caught.value)
        return
    levels, theirs = saved(tmp_path, processor)
    np.testing.assert_allclose(ours(tmp_path, levels), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("EfficientNetImageProcessorPil", {"include_top": False}),
        ("EfficientNetImageProcessorPil", {"rescale_offset": True, "rescale_factor": 1 / 127.5}),
        ("EfficientNetImageProcessorPil", {"do_normalize": False}),
        (
            "EfficientNetImageProcessorPil",
            {"image_std": [0.2, 0.3, 0.4], "image_mean": [0, 0.1, 1]},
        ),
        ("ViTImageProcessorPil", {"do_rescale": False}),
        ("ViTImageProcessorPil", {"do_normalize": False}),
        ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 224}}),
        ("PerceiverImageProcessorPil", {"do_center_crop": False}),
        ("MobileViTImageProcessorPil", {"do_center_crop": False}),
        ("MobileViTImageProcessorPil", {"size": {"shortest_edge": 288}}),
        ("CLIPImageProcessorPil", {"do_resize": False}),
    ],
)
def test_settings_besides_the_usual_ones(tmp_path, name, settings):
    levels, theirs = saved(tmp_path, getattr(transformers, name)(**settings))
    np.testing.assert_allclose(ours(tmp_path, levels), theirs, rtol=1e-4, atol=1e-4)


def test_what_the_file_leaves_out_is_the_classs_own(tmp_path):
    """The reverse of a mean that is stated and never used."""
    words = {"image_processor_type": "ViTImageProcessor", "size": 64}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(words))
    found = declared_input(str(tmp_path), None, Config())
    assert (found["mean"], found["std"], found["size"]) == ([0.5] * 3, [0.5] * 3, 64)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"image_processor_type": "NoSuchProcessor"}, "that of net gave"),
        ({"image_processor_type": "ViTImageProcessor", "size": "big"}, "that of net gave"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]}, "that of net gave"),
        ({"auto_map": {"AutoImageProcessor": "own.Own"}}, "contains custom code"),
        (
            {"image_processor_type": "ViTImageProcessor", "do_pad": True, "pad_size": 300},
            "adds a border",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_unless_the_input_is_declared(tmp_path, words, said):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "preprocessor_config.json").write_text(json.dumps(words))
    (folder / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ClassifierError, match=said) as caught:
        declared_input(str(folder), None, Config())
    assert "Give size=, input_range=, mean= and std=" in str(caught.value)
    declared = {"size": 32, "range": (0, 1), "mean": (), "std": ()}
    assert declared_input(str(folder), None, Config(), declared)["channels"] == 3
