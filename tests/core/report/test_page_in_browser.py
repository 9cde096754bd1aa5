"""The page in headless Chromium: it plays, steps, scrubs, switches to dark, and asks nobody for anything."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from browser import Visit, chromium, until

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode, Transitions
from rlbuffers.report.page import render_report

LENGTHS = (40, 70, 9)
_A_DAY = 86_400_000
EVIL = "</script><script>console.log('broken')</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def context(browser):
    return browser.new_context()


def frame_of(episode, t):
    """A frame that tells which one it is: its first pixel is the step, its second the episode."""
    frame = np.full((8, 10), 255, np.uint8)
    frame[0, :2] = t, 100 + episode
    return frame


def write_frames(path):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.uint8, (4, 8, 10)),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 4}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
        stack=4,
    )
    facts = {"environment": {"id": "Breakout"}, "warnings": [EVIL], "notes": [EVIL], "license": EVIL}
    with rlbuffers.create(path, spec, facts) as writer:
        for number, length in enumerate(LENGTHS):
            steps = np.arange(length)
            columns = {
                "actions": steps % 4,
                "rewards": np.where(steps % 10 == 5, number + 1, 0).astype(np.float32),
                "terminals": (steps == length - 1) & (number != 1),
                "timeouts": (steps == length - 1) & (number == 1),
            }
            frames = [frame_of(number, 0)] * 3 + [frame_of(number, t) for t in range(length + 1)]
            writer.append_episode(Episode(columns, {"frames": np.stack(frames)}))
    return path


@pytest.fixture(scope="module")
def frames_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    write_frames(folder / "frames.hdf5")
    with rlbuffers.open(folder / "frames.hdf5") as buffer:
        (folder / "page.html").write_text(render_report(buffer, EVIL))
    return folder / "page.html"


@pytest.fixture
def clocked(browser, frames_page):
    """A page whose time only passes when a test says so; the clock is a whole context's, so this one has its own."""
    opened = Visit(browser.new_context(), frames_page)
    opened.page.clock.install(time=0)
    opened.page.clock.pause_at(_A_DAY)
    yield opened
    opened.close()


@pytest.fixture
def visit(context, frames_page):
    opened = Visit(context, frames_page)
    yield opened
    opened.close()


def pixels(page):
    """Return the first two pixels of the frame that is shown, once it is painted."""
    until(page, "document.querySelector('.player input').value === document.querySelector('canvas').dataset.step")
    script = "Array.from(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 2, 1).data)"
    data = page.evaluate(script)
    return data[0], data[4]


def step_of(page):
    return int(page.locator(".player input").input_value())


def read(page, name):
    return page.locator(f".now div:has(dt:text-is('{name}')) dd").inner_text()


def test_the_best_episode_comes_first_and_every_step_shows_its_frame(visit):
    page = visit.page
    assert (
        page.locator(".player select").first.locator("option").all_inner_texts()[0].startswith("Episode 1: best return")
    )
    for t in (0, 1, 31, 32, 33, 69, 70):
        page.locator(".player input").evaluate(
            "(input, t) => { input.value = t; input.dispatchEvent(new Event('input')); }", t
        )
        assert pixels(page) == (t, 101)
    assert read(page, "Action") == "none"  # the observation after the last step
    assert read(page, "End") == "timeout"


def test_steps_keys_and_numbers(visit):
    page = visit.page
    page.locator(".player").focus()
    for key, step in {"ArrowRight": 1, "Shift+ArrowRight": 11, "ArrowLeft": 10, "End": 70, "Home": 0}.items():
        page.keyboard.press(key)
        assert step_of(page) == step
    page.get_by_label("One step on").click()
    page.get_by_label("One step on").click()
    page.get_by_label("One step back").click()
    assert step_of(page) == 1
    assert read(page, "Action") == "1: fire"
    for _ in range(4):
        page.locator(".player").press("ArrowRight")
    assert (read(page, "Step"), read(page, "Reward"), read(page, "Return so far")) == ("5 of 70", "2", "2")


def test_it_plays_to_the_end_and_pauses(clocked):
    page = clocked.page
    page.get_by_label("Episode", exact=True).select_option(label=page.locator(".player option").nth(1).inner_text())
    page.get_by_label("Speed").select_option("8")
    page.locator(".player").focus()
    page.keyboard.press("Space")
    page.clock.run_for(100)
    stopped = step_of(page)
    assert 8 <= stopped <= 12  # 15 steps a second at speed 1
    assert page.get_by_label("Play or pause").inner_text() == "Pause"
    page.keyboard.press("Space")
    page.clock.run_for(1000)
    assert step_of(page) == stopped
    assert page.get_by_label("Play or pause").inner_text() == "Play"
    page.get_by_label("Play or pause").click()
    page.clock.run_for(1000)
    assert page.locator(".player input").get_attribute("max") == str(step_of(page)) == "40"
    assert page.get_by_label("Play or pause").inner_text() == "Play"


def test_scrubbing_on_the_track_and_the_marks_on_it(visit):
    page = visit.page
    track = page.locator(".track svg")
    assert track.locator(".reward").count() == 7
    assert track.locator(".end.timeout").count() == 1
    assert track.locator(".end.terminal").count() == 0
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    page.mouse.move(box["x"] + 8, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.up()
    assert abs(step_of(page) - 35) <= 1
    assert pixels(page) == (step_of(page), 101)
    page.mouse.move(box["x"] + box["width"] - 9, box["y"] + 20)
    assert abs(step_of(page) - 35) <= 1  # not without the button


def test_another_episode_shows_its_own_frames_and_end(visit):
    page = visit.page
    labels = page.locator(".player select").first.locator("option").all_inner_texts()
    worst = next(label for label in labels if label.startswith("Episode 2:"))
    page.get_by_label("Episode", exact=True).select_option(label=worst)
    assert pixels(page) == (0, 102)
    page.locator(".player").press("End")
    assert pixels(page) == (9, 102)
    assert page.locator(".track .end.terminal").count() == 1


def test_dark_and_light(context, frames_page, visit):
    page = visit.page
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.locator("#theme").click()
    dark = page.evaluate(paper)
    assert dark != "rgb(255, 255, 255)"
    page.locator("#theme").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    preferring = Visit(context, frames_page, scheme="dark")
    assert preferring.page.evaluate(paper) == dark
    preferring.close()


def test_tooltips_and_the_logarithmic_switch(visit):
    page = visit.page
    page.locator("[data-key=actions] g").first.hover()
    until(page, "document.querySelector('#tip').innerText.startsWith('0: noop\\n31 steps, 26.1 %')")
    tall = "[...document.querySelectorAll('[data-key=rewards] .bar')].map((bar) => Number(bar.getAttribute('height')))"
    assert page.locator("[data-key=rewards] .bar").count() == 4
    before = page.evaluate(tall)
    assert page.get_by_text("log scale").count() >= 1
    page.locator("[data-key=rewards] button").click()
    assert page.evaluate(tall)[1] > 5 * before[1]


def test_text_of_the_data_is_only_text(visit):
    assert visit.page.locator("h1").inner_text() == EVIL
    assert visit.page.locator(".faults li").inner_text() == EVIL
    assert visit.page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("width", [360, 400, 1400])
def test_nothing_is_wider_than_the_window(context, frames_page, width):
    opened = Visit(context, frames_page, width=width)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    overlapping = """() => [...document.querySelectorAll('.plot svg')].every((chart) =>
        chart.getBoundingClientRect().right <= window.innerWidth + 1)"""
    assert opened.page.evaluate(overlapping)
    opened.close()


def test_an_episode_of_vectors_has_lines_and_one_cursor(context, tmp_path):
    path = tmp_path / "vectors.zarr"
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations/position", np.float32, (3,)),
            ColumnSpec("observations/velocity", np.float64, (2,)),
            ColumnSpec("actions", np.float32, (2,)),
            ColumnSpec("rewards", np.float32),
        ],
    )
    rng = np.random.default_rng(0)
    with rlbuffers.create(path, spec) as writer:
        for length in (30, 50):
            columns = {
                "actions": rng.normal(size=(length, 2)).astype(np.float32),
                "rewards": rng.normal(size=length).astype(np.float32),
            }
            observed = {
                "observations/position": rng.normal(size=(length + 1, 3)).astype(np.float32),
                "observations/velocity": rng.normal(size=(length + 1, 2)),
            }
            writer.append_episode(Episode(columns, observed))
    with rlbuffers.open(path) as buffer:
        (tmp_path / "page.html").write_text(render_report(buffer, "vectors"))
    opened = Visit(context, tmp_path / "page.html")
    page = opened.page
    titles = page.locator(".panel-title").all_inner_texts()
    assert titles == ["Return so far", "Reward", "Observation", "Action"]
    chips = page.locator(".legend").first.locator("button")
    assert chips.all_inner_texts() == ["position[0]", "position[1]", "position[2]", "velocity[0]", "velocity[1]"]
    observed = page.locator("[data-title=Observation] .line")
    assert observed.count() == 4
    chips.nth(4).click()
    chips.nth(0).click()
    chips.nth(1).click()
    assert observed.count() == 3
    page.locator(".player").press("End")
    cursors = page.locator(".player .cursor")
    places = {cursors.nth(at).get_attribute("x1") for at in range(1, cursors.count())}
    assert len(places) == 1  # all lines show the same step
    assert page.locator("canvas").count() == 0
    opened.close()


def test_independent_transitions_are_shown_as_rows_of_frames(context, tmp_path):
    spec = BufferSpec(
        "transitions",
        [
            *(ColumnSpec(name, np.uint8, (3, 8, 10)) for name in ("observations", "next_observations")),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 4}),
            ColumnSpec("rewards", np.float32),
        ],
        order="shuffled",
        stack=3,
    )
    windows = np.random.default_rng(0).integers(0, 256, (50, 4, 8, 10), dtype=np.uint8)
    columns = {"actions": np.arange(50) % 4, "rewards": (np.arange(50) == 33).astype(np.float32)}
    with rlbuffers.create(tmp_path / "t.hdf5", spec, {"environment": {"id": "Breakout"}}) as writer:
        writer.append_transitions(Transitions(columns, windows=windows))
    with rlbuffers.open(tmp_path / "t.hdf5") as buffer:
        (tmp_path / "page.html").write_text(render_report(buffer, "transitions"))
    opened = Visit(context, tmp_path / "page.html")
    texts = opened.page.locator(".sheet p").all_inner_texts()
    assert len(texts) == 12
    assert "row 33: fire, reward 1" in texts
    assert opened.page.locator(".player").count() == 0
    image = opened.page.locator(".sheet img").first
    assert image.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [40, 8]
    opened.close()


def test_runs_are_drawn_with_their_curves(context, tmp_path):
    from rlbuffers.decoding.tfrecord import masked_crc32c

    path = write_frames(tmp_path / "frames.hdf5")
    run = tmp_path / "run"
    run.mkdir()

    def record(data):
        header = struct.pack("<Q", len(data))
        return header + struct.pack("<I", masked_crc32c(header)) + data + struct.pack("<I", masked_crc32c(data))

    def event(step, tag, value):
        scalar = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
        summary = b"\x0a" + bytes([len(scalar)]) + scalar
        return record(b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary)

    events = [event(step, tag, step * 2.0) for step in (1, 2, 3) for tag in (b"return/mean", b"return/std", b"loss")]
    (run / "events.out.tfevents.1").write_bytes(b"".join(events))
    with rlbuffers.open(path) as buffer:
        (tmp_path / "page.html").write_text(render_report(buffer, "runs", [run]))
    opened = Visit(context, tmp_path / "page.html")
    page = opened.page
    assert page.locator("[data-kind=lines]").evaluate_all("(all) => all.map((one) => one.dataset.key)") == [
        "curve/return/mean",
        "curve/loss",
    ]
    page.locator("[data-key='curve/loss'] svg").scroll_into_view_if_needed()
    box = page.locator("[data-key='curve/loss'] svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 100)
    until(page, "document.querySelector('#tip').innerText === 'step 3\\nrun: 6'")
    assert "behavior policy" in page.locator("[data-key='curve/return/mean'] svg").text_content()
    opened.close()
