"""``roentmod edit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from roentmod.cli.console import FAILED_ITEMS, app, progress
from roentmod.cli.options import (
    Arithmetic,
    Device,
    EditorName,
    EngineName,
    Guidance,
    Host,
    Pack,
    Profile,
    Steps,
    Strength,
    held,
    pack_of,
)
from roentmod.edits import Action, Composite, Edit, Scheduler, Severity, Side
from roentmod.errors import EditError
from roentmod.findings import finding


@app.command()
def edit(
    images: Annotated[list[Path], typer.Argument(help="DICOM, PNG, JPEG or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    add: Annotated[
        list[str] | None,
        typer.Option(help="Finding to add; repeat for more edits; 'A + B' adds both in one edit."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Finding to remove; as --add.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Free prompt, instead of our wording.")] = None,
    side: Annotated[Side | None, typer.Option(help="The patient's side.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="How much of it.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="PNG of the radiograph's shape; only its bright part changes."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            help="Where it may change, in words: 'left lower zone', 'around heart + both hila', or "
            "'usual': where the finding usually lies."
        ),
    ] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option(
            help="Finding that must not come along; repeat. 'linked': those that usually do."
        ),
    ] = None,
    strength: Strength = 0.4,
    guidance_scale: Guidance = 4.0,
    steps: Steps = None,
    scheduler: Annotated[
        Scheduler | None, typer.Option(help="Sampler; default: the generator's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Noise, together with the radiograph.")] = 0,
    editor: EditorName = "mini",
    host: Host = None,
    profile: Profile = None,
    composite: Annotated[
        Composite, typer.Option(help="How the change returns to native resolution.")
    ] = "sham",
    format: Annotated[
        list[str] | None,
        typer.Option(help="png, dicom or same (as the input, the default); may be repeated."),
    ] = None,
    secondary_capture: Annotated[
        bool, typer.Option("--secondary-capture", help="Write DICOM as secondary capture.")
    ] = False,
    deidentify: Annotated[bool, typer.Option(help="Keep nothing that names the patient.")] = True,
    engine: EngineName = "auto",
    device: Device = "cpu",
    precision: Arithmetic = "float32",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same bits in any company; slower.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load .bin weights, which can run code.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print edits.json.")] = False,
    domain: Pack = None,
) -> None:
    """Add or remove findings in chest radiographs."""
    pack = pack_of(domain)
    if region:
        pack.need_chest("--region")
    common: dict[str, Any] = {
        "prompt": prompt,
        "side": side,
        "severity": severity,
        "region": region,
        "hold": tuple(hold or ()),
        "strength": strength,
        "guidance_scale": guidance_scale,
        "num_inference_steps": steps,
        "scheduler": scheduler,
        "seed": seed,
        "composite": composite,
    }
    edits = plan(add or [], remove or [], common)
    for one in edits:
        pack.own(map(finding, (*one.findings, *one.hold)))
    from roentmod.editors import Editor
    from roentmod.jobs.edit import Format, Output, run

    output = Output(
        out,
        cast("tuple[Format, ...]", tuple(format or ["same"])),
        not deidentify,
        secondary_capture,
    )
    loaded = Editor.load(
        editor,
        host=host,
        engine=engine,
        deterministic=deterministic,
        allow_pickle=allow_pickle,
        profile=profile,
        device=device,
        precision=precision,
    )
    with progress() as stages:
        result = run(images, edits, loaded, output, mask=mask, progress=stages("editing"))
    items = result.record["items"]
    failed = [item for item in items if item["status"] != "ok"]
    if as_json:
        typer.echo(json.dumps(result.record, indent=2))
    else:
        _report(items, out)
    raise typer.Exit(FAILED_ITEMS if failed else 0)


def plan(add: list[str], remove: list[str], common: dict[str, Any]) -> list[Edit]:
    """Return one edit for each --add and --remove, or one of the free prompt alone.

    Raises:
        EditError: nothing to do, or one prompt for several edits.
    """
    wanted: list[tuple[Action, str]] = [("add", n) for n in add] + [("remove", n) for n in remove]
    if common["prompt"] and len(wanted) > 1:
        raise EditError(f"--prompt words one edit; got {len(wanted)}. Run them one by one.")
    if not wanted:
        return [Edit(**common | {"hold": held(common["hold"], ())})]
    parts = [(action, tuple(part.strip() for part in name.split("+"))) for action, name in wanted]
    return [
        Edit(findings=names, action=action, **common | {"hold": held(common["hold"], names)})
        for action, names in parts
    ]


def _report(items: list[dict[str, Any]], out: Path) -> None:
    for item in items:
        if item["status"] == "ok":
            seconds = item["facts"].get("seconds")
            changed = item["changed_fraction"]
            typer.echo(f"{item['input']}  {item['label']}  {changed:.1%} changed  {seconds} s")
        elif "label" in item:
            typer.echo(f"{item['input']}  {item['label']}  {item['status']}", err=True)
    if any(item["status"] == "ok" for item in items):
        typer.echo(f"Synthetic pictures and edits.json are in {out}")
