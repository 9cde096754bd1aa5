"""What the page says, without a browser: numbers against plain NumPy, escaping, and the same text every time."""

import json
import re

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.report.columns import action_figure, observation_figures, reward_figure
from rlbuffers.report.episodes import choose_episodes, episode_figures, episode_steps
from rlbuffers.report.page import render_report


def write_vectors(path, lengths=(9, 30, 4, 30, 12), whole=(True, True, True, True, False), facts=None, odd=False):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (5,)),
            ColumnSpec("actions", np.float32, (2,), {"type": "box", "low": -1, "high": 1}),
            ColumnSpec("rewards", np.float64),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    rng = np.random.default_rng(0)
    with rlbuffers.create(path, spec, facts) as writer:
        for number, (length, is_whole) in enumerate(zip(lengths, whole, strict=True)):
            observed = rng.normal(size=(length + 1, 5)).astype(np.float32)
            if odd:
                observed[0, 0] = np.nan
            ends = np.arange(length) == length - 1
            columns = {
                "actions": np.tanh(rng.normal(size=(length, 2))).astype(np.float32),
                "rewards": rng.normal(size=length) + number,
                "terminals": ends & (number % 2 == 0),
                "timeouts": ends & (number % 2 == 1),
            }
            writer.append_episode(Episode(columns, {"observations": observed}, whole=is_whole))
    return path


def test_figures_equal_numpy(new_path, store):
    with rlbuffers.open(write_vectors(new_path(store))) as buffer:
        rows = buffer[:]
        rewards = reward_figure(buffer)
        expected, _ = np.histogram(rows["rewards"], bins=np.array(rewards["edges"]))
        assert rewards["counts"] == expected.tolist()
        (observed,) = observation_figures(buffer).values()
        for found, name in ((observed, "observations"), (action_figure(buffer), "actions")):
            for key, value in {"min": "min", "max": "max", "mean": "mean", "std": "std"}.items():
                np.testing.assert_allclose(found[key], getattr(rows[name].astype(float), value)(axis=0))
            for at, counts in enumerate(found["histograms"]):
                values = rows[name][:, at]
                assert counts == np.histogram(values, bins=40, range=(values.min(), values.max()))[0].tolist()
        figures = episode_figures(buffer)
        returns = [buffer.episode(number)["rewards"].sum() for number in range(4)]  # the fifth is not whole
        assert sum(figures["returns"]["counts"]) == 4
        np.testing.assert_allclose(figures["recording"]["y"], returns, rtol=1e-4)
        np.testing.assert_allclose(figures["returns"]["median"], np.median(returns), rtol=1e-4)
        assert figures["lengths"]["mean"] == pytest.approx(73 / 4)


def test_statistics_that_the_metadata_lack_are_computed(tmp_path, monkeypatch):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5")) as buffer:
        expected = observation_figures(buffer)
        lacking = {key: value for key, value in buffer.metadata["statistics"].items() if key != "observations"}
        monkeypatch.setattr(buffer, "metadata", {**buffer.metadata, "statistics": lacking})
        assert observation_figures(buffer) == expected


def test_ranges_that_the_metadata_state_wrongly_are_not_believed(tmp_path, monkeypatch):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5")) as buffer:
        right = observation_figures(buffer)["observations"]
        stated = {**buffer.metadata["statistics"]["observations"], "min": [0.0] * 5}
        wrong = {**buffer.metadata["statistics"], "observations": stated}
        monkeypatch.setattr(buffer, "metadata", {**buffer.metadata, "statistics": wrong})
        assert observation_figures(buffer)["observations"]["histograms"] == right["histograms"]


def test_values_that_are_not_finite_are_counted(tmp_path):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5", odd=True)) as buffer:
        (found,) = observation_figures(buffer).values()
        assert found["notFinite"] == 5
        assert "5 values are not finite and are left out." in render_report(buffer, "x")


def test_chosen_episodes(tmp_path):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5")) as buffer:
        returns = [buffer.episode(number)["rewards"].sum() for number in range(4)]
        chosen = choose_episodes(buffer)
        by_reason = {reason: number for number, words in chosen.items() for reason in words.split(", ")}
        order = np.argsort(returns)
        assert by_reason == {
            "best return": order[3],
            "median return": order[1],
            "worst return": order[0],
            "first": 0,
            "longest": 1,
            "last": 3,
        }


def test_without_a_whole_episode_the_others_are_shown(tmp_path):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5", (3, 4), (False, False))) as buffer:
        assert episode_figures(buffer) == {}
        assert set(choose_episodes(buffer)) == {0, 1}
        assert "0 whole" in render_report(buffer, "x")


def test_an_episode_step_by_step(tmp_path):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5")) as buffer:
        for number in range(5):
            episode, found = buffer.episode(number), episode_steps(buffer, number)
            np.testing.assert_allclose(found["rewards"], episode["rewards"], rtol=1e-4)
            np.testing.assert_allclose(np.array(found["actions"]).T, episode["actions"], rtol=1e-4)
            lines = np.array([line["values"] for line in found["lines"]]).T
            np.testing.assert_allclose(lines, episode["observations"][:-1], rtol=1e-4)
            assert found["terminals"] == np.flatnonzero(episode["terminals"]).tolist()
            assert found["timeouts"] == np.flatnonzero(episode["timeouts"]).tolist()


def test_discrete_actions_have_names_where_they_are_known(tmp_path):
    made = make(Recipe("episodes", (20,)))
    with rlbuffers.create(tmp_path / "x.hdf5", made.spec, {"environment": {"id": "PongNoFrameskip-v4"}}) as writer:
        for piece in made.pieces:
            writer.append_episode(piece)
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        found = action_figure(buffer)
        assert found["names"] == ["noop", "fire", "right", "left", "right+fire", "left+fire"]
        assert found["counts"] == np.bincount(buffer[:]["actions"], minlength=6).tolist()


@pytest.mark.parametrize("stack", [0, 2])
@pytest.mark.parametrize("layout", ["episodes", "transitions"])
def test_every_kind_of_buffer_has_a_page_and_the_same_one_twice(new_path, store, layout, stack):
    path = write(new_path(store), make(Recipe(layout, (3, 2), stack=stack, size=(8, 9))))
    with rlbuffers.open(path) as buffer:
        page = render_report(buffer, "x")
        assert page == render_report(buffer, "x")
        assert buffer.fingerprint in page
    with rlbuffers.open(path, cache=0) as buffer:
        assert render_report(buffer, "x") == page


EVIL = "\"'><script>alert(1)</script><!--$title${style}&amp;"


def test_nothing_that_data_say_becomes_markup_or_is_filled_in(tmp_path):
    facts = {key: [EVIL] for key in ("warnings", "notes", "left_out")}
    facts |= {
        "license": EVIL,
        "citation": EVIL,
        "environment": {"id": EVIL, EVIL: EVIL, "reference_scores": {"min": 0, "max": 1}},
    }
    facts |= {"source": {"format": EVIL, "files": [{"name": EVIL, "bytes": 3}]}, "behavior_policy": {"name": EVIL}}
    facts |= {"derivation": {"operation": EVIL, "parents": [{"name": EVIL, "fingerprint": EVIL}]}}
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5", facts=facts)) as buffer:
        page = render_report(buffer, EVIL)
    assert "<script>alert" not in page
    assert len(re.findall(r"<script\b", page)) == 2
    assert page.count("${style}") == page.count(
        "&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!--$title${style}&amp;amp;"
    )
    (data,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', page)
    assert not set("<>&") & set(data)
    assert json.loads(data)["episodes"]


def test_the_page_asks_for_nothing(tmp_path):
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5")) as buffer:
        page = render_report(buffer, "x")
    assert "default-src 'none'; img-src data:;" in page
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    assert "@import" not in page
    assert re.findall(r"url\((?!data:)", page) == []


def test_head_and_origin(tmp_path):
    facts = {
        "environment": {"id": "Hopper-v2", "reference_scores": {"min": 0.0, "max": 200.0}},
        "behavior_policy": {"name": "SAC", "epsilon": 0.25},
        "derivation": {
            "operation": "merge",
            "parents": [
                {
                    "name": "a.hdf5",
                    "fingerprint": "f1",
                    "derivation": {"parents": [{"name": "b.hdf5", "fingerprint": "f2"}]},
                }
            ],
        },
    }
    with rlbuffers.open(write_vectors(tmp_path / "x.hdf5", facts=facts)) as buffer:
        page = render_report(buffer, "x")
        mean = np.mean([buffer.episode(number)["rewards"].sum() for number in range(4)])
    assert "85 transitions in 5 episodes of Hopper-v2, played by SAC (epsilon 0.25)." in page
    assert f"<dt>Normalized score</dt><dd>{mean / 2:.1f}</dd>" in page
    assert "<td>1</td><td>a.hdf5</td><td>f1</td>" in page
    assert "<td>2</td><td>b.hdf5</td><td>f2</td>" in page
