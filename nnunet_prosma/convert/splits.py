"""The splits of the paper's 2D experiments: 80/20, three times, each with a seed of U-KAN's."""

from collections.abc import Sequence

SEEDS = (2981, 6142, 1187)
HELD_OUT = 0.2


def splits(cases: Sequence[str]) -> list[dict[str, list[str]]]:
    """A fold for each seed: scikit-learn's train_test_split of the cases in their order, as U-KAN calls it.

    The order of the names within a fold is kept: U-KAN's validation batches follow it.
    """
    from sklearn.model_selection import train_test_split

    halves = (train_test_split(list(cases), test_size=HELD_OUT, random_state=seed) for seed in SEEDS)
    return [{"train": train, "val": val} for train, val in halves]
