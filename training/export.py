"""Write the trained parts as a diffusers folder, in float16, as the package bundles them."""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from roentmod.editors import BUNDLED
from roentmod.editors.painter import FORMS
from training import autoencoder, checkpoints, generator, painted, vocabulary


def usual(rows: list[dict[str, str]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return how often each form and place of a finding is to be drawn.

    Forms as the painter's seeds take them, places as they were painted in each form.
    """
    counted: dict[str, dict[str, Counter[str]]] = {}
    for row in rows:
        name, form, place = row["findings"], row["forms"], row["places"]
        if name in FORMS and (place or name not in painted.PLACED):
            counted.setdefault(name, {}).setdefault(form, Counter())[place] += 1
    return {
        name: {
            form: {
                place: round(FORMS[name][form] * count / places.total(), 4)
                for place, count in sorted(places.items())
            }
            for form, places in sorted(forms.items())
        }
        for name, forms in sorted(counted.items())
    }


def export(run: Path, target: Path) -> None:
    """Write `target` from the averaged weights of the run folder."""
    saved = checkpoints.load(run / "unet.pt")
    latents = checkpoints.load(run / "latents.pt")
    if saved is None or latents is None:
        raise SystemExit(f"no unet.pt in {run}: run python -m training.unet first")
    tokenizer = vocabulary.tokenizer(run / "tokenizer")
    model = generator.Generator(tokenizer)
    model.load_state_dict(saved["average"])
    vae = autoencoder.trained(run)
    autoencoder.even_out(vae, latents["mean"], latents["deviation"])
    vae.register_to_config(scaling_factor=1.0)
    for part, name in ((model.unet, "unet"), (model.text, "text_encoder"), (vae, "vae")):
        part.to(torch.float16).save_pretrained(target / name, safe_serialization=True)
    generator.scheduler().save_pretrained(target / "scheduler")
    shutil.copytree(run / "tokenizer", target / "tokenizer", dirs_exist_ok=True)
    profile: dict[str, Any] = {"name": "mini", "licence": "Apache-2.0; see the model card"}
    profile |= {"usual": usual(painted.rows_of(run)), "absent": vocabulary.ABSENT}
    (target / "profile.json").write_text(json.dumps(profile, indent=2) + "\n")


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--target", type=Path, default=BUNDLED["mini"])
    args = parser.parse_args()
    export(args.run, args.target)


if __name__ == "__main__":
    main()
