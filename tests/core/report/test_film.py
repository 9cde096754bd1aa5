"""Frames on the page are the buffer's, bit for bit, in order, and within their room."""

import base64
import io

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.report.film import average_frames, episode_film, image_column, transition_sheet


def decoded(text):
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(base64.b64decode(text))))


def frames_of(film):
    strips = [decoded(strip) for strip in film["strips"]]
    return np.concatenate([strip.reshape(-1, film["height"], *strip.shape[1:]) for strip in strips])


@pytest.mark.parametrize("store", ["hdf5", "zarr", "memory"])
def test_an_episode_of_stacks(new_path, store):
    made = make(Recipe("episodes", (5, 71, 1), stack=4, size=(8, 9)))
    with rlbuffers.open(write(new_path(store), made)) as buffer:
        assert image_column(buffer) == "observations"
        for number in range(3):
            film = episode_film(buffer, "observations", number, 10**6)
            episode = buffer.episode(number)["observations"]
            assert (film["count"], film["total"]) == (len(episode), len(episode))
            np.testing.assert_array_equal(frames_of(film), episode[:, -1])


def write_images(path, shape, lengths=(40, 3), known=True):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations/camera", np.uint8, shape),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float32),
        ],
    )
    rng = np.random.default_rng(0)
    with rlbuffers.create(path, spec) as writer:
        for length in lengths:
            columns = {"actions": np.zeros(length, np.int64), "rewards": np.zeros(length, np.float32)}
            images = rng.integers(0, 256, (length + known, *shape), dtype=np.uint8)
            writer.append_episode(Episode(columns, {"observations/camera": images}))
    return path


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((12, 10), lambda images: images),
        ((12, 10, 3), lambda images: images),
        ((3, 12, 10), lambda images: np.moveaxis(images, 1, -1)),
        ((1, 12, 10), lambda images: images[:, 0]),
        ((4, 12, 10), lambda images: images[:, -1]),
        ((12, 10, 4), lambda images: images[..., -1]),
    ],
)
def test_images_of_any_layout(tmp_path, shape, shown, known):
    with rlbuffers.open(write_images(tmp_path / "x.zarr", shape, known=known)) as buffer:
        assert image_column(buffer) == "observations/camera"
        for number in range(2):
            film = episode_film(buffer, "observations/camera", number, 10**6)
            expected = shown(buffer.episode(number)["observations/camera"])
            np.testing.assert_array_equal(frames_of(film), expected)


def test_what_has_no_room_is_left_out_and_counted(tmp_path):
    with rlbuffers.open(write_images(tmp_path / "x.hdf5", (12, 10), lengths=(100,))) as buffer:
        whole = episode_film(buffer, "observations/camera", 0, 10**6)
        room = sum(map(len, whole["strips"][:2])) + 10
        film = episode_film(buffer, "observations/camera", 0, room)
        assert (film["count"], film["total"]) == (64, 101)
        assert film["strips"] == whole["strips"][:2]
        assert episode_film(buffer, "observations/camera", 0, 0)["count"] == 32  # never nothing at all


def test_large_images_are_averaged_in_blocks(tmp_path):
    with rlbuffers.open(write_images(tmp_path / "x.hdf5", (300, 520, 3), lengths=(2,))) as buffer:
        film = episode_film(buffer, "observations/camera", 0, 10**7)
        images = buffer.episode(0)["observations/camera"][:, :300, :519].astype(float)
        expected = images.reshape(3, 100, 3, 173, 3, 3).mean(axis=(2, 4))
        assert (film["height"], film["width"]) == (100, 173)
        np.testing.assert_array_equal(frames_of(film), np.rint(expected))


def test_the_average_frame(tmp_path):
    path = write_images(tmp_path / "x.hdf5", (12, 10), lengths=(50, 30))
    with rlbuffers.open(path) as buffer:
        average = average_frames(buffer, "observations/camera")
        images = np.stack([buffer[at]["observations/camera"] for at in range(80)]).astype(float)
        np.testing.assert_array_equal(decoded(average["mean"]), np.rint(images.mean(axis=0)))
        spread = images.std(axis=0)
        assert average["brightest"] == round(spread.max(), 1)
        np.testing.assert_allclose(decoded(average["std"]), spread / spread.max() * 255, atol=0.51)
        assert (average["frames"], average["of"]) == (80, 80)


def test_a_sheet_of_transitions(new_path):
    made = make(Recipe("transitions", (30,), stack=3, size=(8, 9), apart=0.3))
    with rlbuffers.open(write(new_path("hdf5"), made)) as buffer:
        sheet = transition_sheet(buffer, "observations")
        assert len({card["row"] for card in sheet}) == len(sheet) == 12
        for card in sheet:
            row = buffer[card["row"]]
            expected = np.concatenate([*row["observations"], row["next_observations"][-1]], axis=1)
            np.testing.assert_array_equal(decoded(card["image"]), expected)
            assert card["action"] == row["actions"]
            assert card["reward"] == row["rewards"]
