"""`rlbuffers generate`, with a policy that is trained for a moment only."""

import numpy as np
import pytest
from click.testing import CliRunner

import rlbuffers
from rlbuffers.schema import EPISODE_WHOLE
from rlbuffers_cli.main import cli
from rlbuffers_train import POLICY, TrainingInterrupted, TrainingRequest, train_online
from rlbuffers_train.online_settings import recommended_settings
from rlbuffers_train.playing.evaluation_task import problem_of_task

TASK = "CartPole-v1"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("expert") / "run"
    settings = {"epoch": 1, "step_per_epoch": 1200, "eval_episodes": 1}
    train_online(TrainingRequest("qrdqn", task=TASK, logdir=logdir, settings=settings))
    return logdir / POLICY


def generate(*words):
    return CliRunner().invoke(cli, ["generate", *map(str, words)], catch_exceptions=False)


def test_records_what_was_played(checkpoint, tmp_path):
    path = tmp_path / "cartpole.hdf5"
    words = ["--task", TASK, "--resume-path", checkpoint, "--output", path, "--eps", 0.5]
    result = generate(*words, "--buffer-size", 503, "--num-envs", 4, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "503 transitions" in result.output
    with rlbuffers.open(path) as buffer:
        assert len(buffer) == 503
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": 2}
        behavior = buffer.metadata["behavior_policy"]
        assert (behavior["name"], behavior["epsilon"]) == ("qrdqn", 0.5)
        assert len(behavior["checkpoint_sha256"]) == 64
        whole = buffer.arrays[EPISODE_WHOLE].all()
        for number, episode in enumerate(buffer.episodes()):
            # CartPole pays 1 a step, and ends in an observation that its limits exclude.
            assert (episode["rewards"] == 1).all()
            assert not (episode["terminals"][:-1] | episode["timeouts"][:-1]).any()
            assert episode["terminals"][-1] or episode["timeouts"][-1]
            last = episode["observations"][-1]
            outside = abs(last[0]) > 2.4 or abs(last[2]) > 0.2095
            assert episode["terminals"][-1] == outside
            assert whole[number] or episode["timeouts"][-1]
    assert rlbuffers.validate(path).ok


def test_same_seed_gives_the_same_buffer(checkpoint, tmp_path):
    fingerprints = []
    for name, seed in (("a.hdf5", 1), ("b.zarr", 1), ("c.hdf5", 2)):
        words = ["--resume-path", checkpoint, "--output", tmp_path / name, "--buffer-size", 200, "--seed", seed]
        assert generate(*words).exit_code == 0
        with rlbuffers.open(tmp_path / name) as buffer:
            fingerprints.append(buffer.fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_epsilon_is_the_share_of_random_actions(checkpoint, tmp_path):
    for eps in (0.0, 1.0):
        path = tmp_path / f"eps{eps}.hdf5"
        words = ["--resume-path", checkpoint, "--output", path, "--eps", eps, "--buffer-size", 2000]
        assert generate(*words).exit_code == 0
    with rlbuffers.open(tmp_path / "eps1.0.hdf5") as buffer:
        counts = np.array(buffer.metadata["statistics"]["action_counts"])
    assert abs(counts[0] / counts.sum() - 0.5) < 0.05
    with rlbuffers.open(tmp_path / "eps0.0.hdf5") as buffer:
        rows = buffer.rows(range(len(buffer)), ["observations", "actions"])
    # Without exploration equal observations have equal actions.
    order = np.lexsort(rows["observations"].T)
    same = (np.diff(rows["observations"][order], axis=0) == 0).all(axis=1)
    assert (np.diff(rows["actions"][order])[same] == 0).all()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--task", "CartPol-v1"], 2, "did you mean 'CartPole-v1'"),
        (["--eps", "1.5"], 2, "--eps"),
        (["--output", "buffer.txt"], 2, "must end in .hdf5, .zarr or .zarr.zip"),
        (["--resume-path", "missing.pth"], 1, "missing.pth"),
    ],
)
def test_wrong_input_is_one_line(words, code, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = generate(*words)
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("*.hdf5"))


def test_existing_buffer_is_kept_unless_told(checkpoint, tmp_path):
    path = tmp_path / "kept.hdf5"
    words = ["--resume-path", checkpoint, "--output", path, "--buffer-size", 50]
    assert generate(*words).exit_code == 0
    before = path.read_bytes()
    refused = generate(*words, "--seed", 9)
    assert refused.exit_code == 1
    assert "pass --overwrite" in refused.output
    assert path.read_bytes() == before
    assert generate(*words, "--seed", 9, "--overwrite").exit_code == 0
    assert path.read_bytes() != before


def test_a_checkpoint_says_who_acts_and_where(tmp_path):
    logdir = tmp_path / "run"
    settings = {"epoch": 1, "step_per_epoch": 20, "num_envs": 2, "eval_episodes": 1}
    hyperparameters = {"hidden_sizes": (8,), "batch_size": 8}
    request = TrainingRequest(
        "sac", task="Pendulum-v1", logdir=logdir, settings=settings, hyperparameters=hyperparameters
    )
    train_online(request)
    path = tmp_path / "pendulum.hdf5"
    result = generate("--resume-path", logdir, "--output", path, "--buffer-size", 50)  # a folder is its best policy
    assert result.exit_code == 0, result.output
    with rlbuffers.open(path) as buffer:
        behavior = buffer.metadata["behavior_policy"]
        assert (behavior["name"], behavior["epsilon"], behavior["checkpoint"]) == ("sac", 0.0, POLICY)
        assert "level" not in behavior
        assert buffer.metadata["environment"]["id"] == "Pendulum-v1"
    for words, message in [
        (["--policy", "qrdqn"], "is a policy of sac, not of qrdqn"),
        (["--task", TASK], f"CartPole-v1 has observations (4,) and 2 actions, {logdir / POLICY} is for observations"),
        (["--level", "medium-replay"], "--level has no effect"),
        (["--stop-at", 5], "--stop-at has no effect"),
    ]:
        refused = generate("--resume-path", logdir, "--output", tmp_path / "no.hdf5", *words)
        assert refused.exit_code == 2, refused.output
        assert message in refused.output
    assert not list(tmp_path.rglob("*no.hdf5*"))
    said = tmp_path / "said.hdf5"
    assert generate("--resume-path", logdir, "--output", said, "--buffer-size", 9, "--level", "medium").exit_code == 0
    with rlbuffers.open(said) as buffer:
        assert buffer.metadata["behavior_policy"]["level"] == "medium"


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "continue the training"), (["--level", "medium-replay", "--stop-at", 1], "begin anew")],
)
def test_a_stopped_training_tells_what_the_same_command_does(words, told, tmp_path, monkeypatch):
    def stop(*arguments):
        raise TrainingInterrupted("Go on with --resume-path, which is another thing here")

    monkeypatch.setattr("rlbuffers_train.generation.train_online", stop)
    result = generate("--output", tmp_path / "no.hdf5", *words)
    assert result.exit_code == 130
    assert result.output.startswith(f"stopped; no buffer was written. Run it again to {told}")
    assert "--resume-path" not in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--buffer-size", 10], ["--eps", 0.1]])
def test_a_recorded_training_has_its_own_size_and_exploration(words, tmp_path):
    result = generate("--level", "medium-replay", "--output", tmp_path / "no.hdf5", *words)
    assert result.exit_code == 2
    assert f"{words[0]} has no effect: medium-replay is what a training played" in result.output


def test_experts_of_the_default_tasks_stop_when_they_are_experts():
    # Without a return to stop at, SAC would train for hours what it learns in minutes.
    for task, stop_at in ((TASK, 475.0), ("Pendulum-v1", -200.0)):
        assert recommended_settings(problem_of_task(task), task).stop_at == stop_at
