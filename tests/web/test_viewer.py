"""The viewer in a browser: what it shows, what hands and keys do."""

import base64
from dataclasses import replace

import numpy as np
import pytest

import roentmod as rm
from roentmod import imaging
from roentmod.radiograph import Radiograph
from tests.imaging.conftest import dataset, levels
from tests.imaging.test_dicom import lut
from tests.web.serving import serving

pytestmark = pytest.mark.slow

CANVAS = "(id) => { const canvas = document.getElementById(id).renderRoot.querySelector('canvas');"
# Width, height, red of each pixel of a viewer's canvas.
READ = (
    CANVAS
    + """
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, canvas.height, btoa(Array.from(data.data.filter((_, i) => i % 4 === 0),
    (v) => String.fromCharCode(v)).join(''))]; }"""
)
COLOURS = (
    CANVAS
    + """
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let coloured = 0;
  for (let i = 0; i < data.length; i += 4) coloured += data[i] !== data[i + 2];
  return coloured; }"""
)
PAINT = "(id) => document.getElementById(id).paint()"
STATE = "(id) => { const v = document.getElementById(id).view; return {...v}; }"


def painted(page, name):
    page.evaluate(PAINT, name)
    width, height, red = page.evaluate(READ, name)
    return np.frombuffer(base64.b64decode(red), np.uint8).reshape(height, width)


def state(page, name="a"):
    return page.evaluate(STATE, name)


def opened(page, address, count):
    page.goto(address)
    ready = "(n) => [...document.querySelectorAll('rm-viewer')].filter(v => v.ready).length === n"
    page.wait_for_function(ready, arg=count)


def middle(page, name="a"):
    box = page.locator(f"#{name} .stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box


def drag(page, start, across, down, button="left"):
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move(start[0] + across / 2, start[1] + down / 2)
    page.mouse.move(start[0] + across, start[1] + down)
    page.mouse.up(button=button)


@pytest.fixture
def wide(page):
    page.set_viewport_size({"width": 1280, "height": 900})
    return page


def stored(ds, path):
    ds.save_as(path, enforce_file_format=True)
    return path


def test_grey_levels_are_those_of_imaging(wide, tmp_path):
    shape = {"shape": (220, 180)}
    values = levels(12, **shape)
    curve = np.rint(65535 * (np.arange(4096) / 4095) ** 0.6).astype(int)
    files = {
        "monochrome1": dataset(
            values, PhotometricInterpretation="MONOCHROME1", WindowCenter=1900, WindowWidth=2500
        ),
        "lut": dataset(values, VOILUTSequence=[lut(curve)]),
        "sixteen": dataset(levels(16, **shape), bits=16),
    }
    shown = {name: imaging.read(stored(ds, tmp_path / f"{name}.dcm")) for name, ds in files.items()}
    viewers = "".join(
        f'<rm-viewer id="{n}" src="/pixels/{n}" bar="none"></rm-viewer>' for n in shown
    )
    with serving(shown, viewers) as address:
        opened(wide, address, len(shown))
        for name, radiograph in shown.items():
            wide.evaluate("(id) => document.getElementById(id).view.change({scale: 1})", name)
            got = painted(wide, name).astype(int)
            wanted = np.rint(radiograph.pixels * 255).astype(int)
            left, top = (got.shape[1] - 180) // 2, (got.shape[0] - 220) // 2
            # The middle of the canvas may lie half a pixel beside.
            places = [(top + i, left + j) for i in (0, 1) for j in (0, 1)]
            errors = [np.abs(got[y : y + 220, x : x + 180] - wanted).max() for y, x in places]
            assert min(errors) <= 1, name


@pytest.fixture
def pair(wide):
    """Two linked panes of a phantom and of what was done to it, with everything on offer."""
    drawn = rm.phantom(3, size=320).radiograph
    changed = drawn.pixels.copy()
    changed[100:160, 60:120] = np.clip(changed[100:160, 60:120] + 0.2, 0, 1)
    shown = {"before": drawn, "after": drawn.with_pixels(changed)}
    viewers = (
        '<rm-viewer id="a" group="g" src="/pixels/before" label="Baseline" bar="none"></rm-viewer>'
        '<rm-viewer id="b" group="g" src="/pixels/after" baseline="/pixels/before" '
        'label="Counterfactual" synthetic brush></rm-viewer>'
    )
    with serving(shown, viewers) as address:
        opened(wide, address, 2)
        wide.wait_for_function("() => document.getElementById('b').prior")
        yield wide


def test_hands_move_both_panes(pair):
    x, y, _ = middle(pair)
    drag(pair, (x, y), 100, 40)
    turned = state(pair)
    assert turned["width"] > 1
    assert turned["centre"] > 0.5
    assert state(pair, "b") == turned
    drag(pair, (x, y), 0, -80, "right")
    zoomed = state(pair)["scale"]
    assert zoomed > 1
    pair.mouse.wheel(0, -200)
    assert state(pair)["scale"] > zoomed
    drag(pair, (x, y), 60, 0, "middle")
    assert state(pair)["x"] < 0.5
    pair.keyboard.down("Space")
    drag(pair, (x, y), 0, 60)
    pair.keyboard.up("Space")
    assert state(pair)["y"] < 0.5
    assert state(pair)["width"] == turned["width"]
    pair.mouse.dblclick(x, y)
    assert state(pair)["scale"] is None


def test_keys_do_everything(pair):
    pair.locator("#b .stage").focus()
    press = pair.keyboard.press
    before = painted(pair, "b")
    press("i")
    assert (painted(pair, "b")[before > 0].mean() - (255 - before[before > 0].mean())) < 1
    press("i")
    press("p")
    assert (state(pair)["centre"], state(pair)["width"]) == (0.3, 0.6)
    press("Shift+ArrowRight")
    assert state(pair)["width"] > 0.6
    press("+")
    press("ArrowRight")
    assert state(pair)["x"] > 0.5
    press("t")
    assert state(pair)["scale"] == 1
    press("r")
    assert (painted(pair, "b") == before).all()
    pair.keyboard.down("f")
    assert (painted(pair, "b") != before).any()
    pair.keyboard.up("f")
    assert (painted(pair, "b") == before).all()
    press("d")
    pair.evaluate(PAINT, "b")
    assert pair.evaluate(COLOURS, "b") > 100
    press("[")
    assert state(pair)["opacity"] < 0.7
    press("s")
    press("]")
    assert state(pair)["divider"] > 0.5
    press("m")
    press("Enter")
    for _ in range(5):
        press("ArrowRight")
    press("Enter")
    (ruler,) = state(pair)["rulers"]
    assert ruler["to"]["x"] > ruler["from"]["x"]
    press("z")
    assert state(pair)["rulers"] == []
    press("b")
    press("]")
    press("Enter")
    press("ArrowDown")
    press("Enter")
    (stroke,) = state(pair)["strokes"]
    assert stroke["radius"] == 50
    assert len(stroke["points"]) == 2
    press("Escape")
    assert state(pair)["tool"] == "window"
    press("z")
    assert state(pair)["strokes"] == []
    press("?")
    assert pair.locator("#b dialog").is_visible()
    press("Escape")
    assert not pair.locator("#b dialog").is_visible()


def test_a_region_is_painted_erased_and_taken_back(pair):
    pair.get_by_role("button", name="Brush").click()
    x, y, _ = middle(pair)
    pair.evaluate(
        "() => document.addEventListener('rm-strokes', () => window.n = (window.n ?? 0) + 1)"
    )
    drag(pair, (x, y), 40, 0)
    pair.get_by_role("button", name="Erase").click()
    drag(pair, (x, y), 10, 0)
    strokes = state(pair)["strokes"]
    assert [stroke["erase"] for stroke in strokes] == [False, True]
    assert abs(strokes[0]["points"][0]["x"] - 160) < 1
    pair.get_by_role("button", name="Undo").click()
    assert len(state(pair)["strokes"]) == 1
    pair.get_by_role("button", name="Clear").click()
    assert state(pair)["strokes"] == []
    # Both panes say it of each change.
    assert pair.evaluate("() => window.n") == 8


def test_two_fingers_zoom(pair):
    x, y, _ = middle(pair)
    touch = """([x, y]) => { const stage = document.querySelector('#a').renderRoot
      .querySelector('.stage');
      stage.setPointerCapture = () => {};
      const box = stage.getBoundingClientRect();
      const send = (type, id, dx) => stage.dispatchEvent(new PointerEvent(type, {pointerId: id,
        pointerType: 'touch', clientX: x + dx, clientY: y, bubbles: true}));
      send('pointerdown', 1, -20); send('pointerdown', 2, 20);
      send('pointermove', 1, -40); send('pointermove', 2, 40);
      send('pointerup', 1, -40); send('pointerup', 2, 40); }"""
    fitted = pair.evaluate("() => document.getElementById('a').placing().scale")
    pair.evaluate(touch, [x, y])
    assert state(pair)["scale"] == pytest.approx(2 * fitted, rel=0.05)
    assert state(pair)["centre"] == 0.5


def test_lengths_are_in_mm_where_they_can_be(wide):
    drawn = rm.phantom(3, size=320).radiograph
    shown = {
        "known": replace(drawn, spacing_mm=(0.5, 0.5)),
        "unknown": Radiograph.from_array(drawn.pixels),
    }
    viewers = "".join(f'<rm-viewer id="{n}" src="/pixels/{n}"></rm-viewer>' for n in shown)
    with serving(shown, viewers) as address:
        opened(wide, address, 2)
        spacings = wide.evaluate(
            "() => [...document.querySelectorAll('rm-viewer')].map(v => v.shown.spacing)"
        )
        assert spacings == [0.5, None]


def test_what_cannot_be_loaded_is_said(page):
    with serving({}, '<rm-viewer id="a" src="/pixels/none"></rm-viewer>') as address:
        page.goto(address)
        page.get_by_text("The server answered 404").wait_for()
        assert any("404" in line for line in page.complaints)
        page.complaints.clear()
