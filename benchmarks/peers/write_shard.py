"""Write a shard in the format of RL Unplugged's raw Atari data, with TensorFlow's own writer.

The published shards are large and not always within reach. This plays a game at random with sticky
actions, keeps a share of the transitions, shuffles them, and writes what `rl_unplugged/atari.py`
reads: GZIP TFRecord, one tf.train.Example a transition, eight PNGs each.

    .venv-peers/bin/python benchmarks/peers/write_shard.py Breakout 20000 shard/Breakout/run_1-00001-of-00100
"""

import argparse
import os
from collections import deque
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import gymnasium
import numpy as np
import tensorflow as tf
from ale_py.registration import register_v5_envs

STACK = 4
FRAME_SKIP = 4
SIDE = 84


class Game:
    """A game with Dopamine's preprocessing, one agent step at a time."""

    def __init__(self, name, rng):
        # Importing ale_py registers nothing beside a gymnasium that is older than its vector environment asks for.
        register_v5_envs()
        self._env = gymnasium.make(
            f"ALE/{name}-v5", frameskip=1, repeat_action_probability=0.25, obs_type="grayscale", full_action_space=False
        )
        self._rng = rng
        self.num_actions = int(self._env.action_space.n)

    def reset(self):
        """Begin a game; return its first frame."""
        screen, _ = self._env.reset(seed=int(self._rng.integers(2**30)))
        return self._shrunk(screen)

    def step(self, action):
        """Return (frame, clipped reward, terminated, ended)."""
        total, screens, ended = 0.0, deque(maxlen=2), False
        for _ in range(FRAME_SKIP):
            screen, reward, terminated, truncated, _ = self._env.step(action)
            screens.append(screen)
            total += float(reward)
            ended = terminated or truncated
            if ended:
                break
        return self._shrunk(np.max(screens, axis=0)), float(np.clip(total, -1, 1)), terminated, ended

    @staticmethod
    def _shrunk(screen):
        return cv2.resize(screen, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def play_episode(game, rng):
    """Return the transitions of one episode as (five frames, action, reward, discount, next action)."""
    frames = deque([np.zeros((SIDE, SIDE), np.uint8)] * STACK + [game.reset()], maxlen=STACK + 1)
    transitions, ended = [], False
    action = int(rng.integers(game.num_actions))
    while not ended:
        frame, reward, terminated, ended = game.step(action)
        frames.append(frame)
        following = int(rng.integers(game.num_actions))
        transitions.append((tuple(frames), action, reward, 0.0 if terminated else 1.0, following))
        action = following
    return transitions


def to_example(transition, episode, episode_return):
    """Serialize one transition."""
    frames, action, reward, discount, following = transition
    pngs = [tf.io.encode_png(frame[..., None]).numpy() for frame in frames]

    def ints(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    def floats(value):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    def images(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    features = {
        "o_t": images(pngs[:STACK]),
        "o_tp1": images(pngs[1:]),
        "a_t": ints(action),
        "a_tp1": ints(following),
        "r_t": floats(reward),
        "d_t": floats(discount),
        "episode_id": ints(episode),
        "episode_return": floats(episode_return),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def main():
    """Play until there are enough transitions, shuffle, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game")
    parser.add_argument("transitions", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep", type=float, default=0.1, help="share of the played transitions that is kept")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    game = Game(args.game, rng)
    records, episode = [], 0
    while len(records) < args.transitions:
        transitions = play_episode(game, rng)
        total = sum(reward for _, _, reward, _, _ in transitions)
        records += [to_example(step, episode, total) for step in transitions if rng.random() < args.keep]
        episode += 1
    order = rng.permutation(len(records))[: args.transitions]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(args.out), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for index in order:
            writer.write(records[index])
    print(f"{args.out}: {len(order)} transitions of {episode} episodes, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
