"""Distillation: one network a phrase takes over what several say, or stays if that is worse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from small_training import SMALL, quiet, small_pools  # noqa: E402

from kwsd.dsp.features import BANDS  # noqa: E402
from kwsd.evaluate.curve import Curve  # noqa: E402
from kwsd.progress import Report  # noqa: E402
from kwsd.train import distil as module  # noqa: E402
from kwsd.train.distil import Learnt, Mean, Parted, distil, seeds  # noqa: E402
from kwsd.train.fit import FitConfig, fit  # noqa: E402
from kwsd.train.network import Network  # noqa: E402
from kwsd.train.pools import Pools  # noqa: E402

CONFIG = FitConfig(steps=40, positives=3, negatives=3, seed=4)


@pytest.fixture(scope="module")
def pools() -> Pools:
    return small_pools()


@pytest.fixture(scope="module")
def networks(pools: Pools, tmp_path_factory: pytest.TempPathFactory) -> list[Network]:
    folder = tmp_path_factory.mktemp("networks")
    return [
        fit(pools, config, folder / f"{number}.pt", quiet, SMALL)
        for number, config in enumerate(seeds(CONFIG, 3))
    ]


def heard() -> Any:
    values = np.random.default_rng(5).normal(0.2, 0.6, (8, BANDS, 120))
    return torch.from_numpy(values.astype(np.float32))


def logits(network: Any) -> np.ndarray:
    with torch.no_grad():
        answer: np.ndarray = network.eval()(heard()).numpy()
    return answer


def test_networks_differ_in_their_draws(networks: list[Network]) -> None:
    assert [config.seed for config in seeds(CONFIG, 3)] == [4, 1004, 2004]
    assert seeds(CONFIG, 1) == [CONFIG]
    assert np.abs(logits(networks[0]) - logits(networks[1])).max() > 0.01


def test_the_mean_is_that_of_the_logits(networks: list[Network]) -> None:
    expected = np.mean([logits(network) for network in networks], axis=0)
    np.testing.assert_allclose(logits(Mean(networks)), expected, atol=1e-6)


def test_parted_networks_answer_for_their_phrases_alone() -> None:
    torch.manual_seed(2)
    first, second = (Network(SMALL, phrases=3) for _ in range(2))
    together = logits(Parted({0: first, 2: second}, 3))
    np.testing.assert_array_equal(together[..., 0], logits(first)[..., 0])
    assert not together[..., 1].any()
    np.testing.assert_array_equal(together[..., 2], logits(second)[..., 2])


def curve(cost: float) -> Curve:
    """Of what misses this share of its words at any rate of false accepts."""
    missed = round(100 * cost)
    return Curve([0.0] * missed + [0.9] * (100 - missed), [0.5], 100.0)


def judge(*costs: float) -> Any:
    """What says these costs of the only phrase, one after the other."""
    left = iter(costs)
    return lambda network: {0: curve(next(left))}


def gaining(networks: int, phrases: int = 1) -> Any:
    """What says that the first of some networks is the best, and gains by learning."""
    costs = iter((0.5, *[0.9] * (networks - 1), 0.4, 0.3, 0.2))
    return lambda network: dict.fromkeys(range(phrases), curve(next(costs)))


def test_a_network_learns_what_all_say(
    networks: list[Network], pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RATE", 1e-2)
    asked = logits(Mean(networks))
    before = np.abs(logits(networks[0]) - asked).mean()
    untouched = [value.clone() for value in networks[0].state_dict().values()]
    student = distil(networks, pools, replace(CONFIG, steps=1500), quiet, gaining(3))[0].network
    assert np.abs(logits(student) - asked).mean() < 0.7 * before
    for was, now in zip(untouched, networks[0].state_dict().values(), strict=True):
        assert torch.equal(was, now)


def two_phrases() -> Pools:
    pools = small_pools()
    words = [replace(word, phrase=phrase) for phrase in (0, 1) for word in pools.words]
    return Pools(words, pools.negatives)


def test_each_phrase_has_a_network_of_its_own(tmp_path: Path) -> None:
    both = two_phrases()
    pair = [
        fit(both, config, tmp_path / f"{number}.pt", quiet, SMALL, phrases=2)
        for number, config in enumerate(seeds(CONFIG, 2))
    ]
    config = replace(CONFIG, steps=200)
    parted = distil(pair, both, config, quiet, gaining(2, 2), phrases=2, wanted=(0, 1))
    assert list(parted) == [0, 1]
    for weights in ("blocks.0.pointwise.weight", "head.weight"):
        values = [one.network.state_dict()[weights] for one in parted.values()]
        assert not torch.equal(*values)
    # What one learns does not hang on what is learnt beside it.
    alone = distil(pair, both, config, quiet, gaining(2, 2), phrases=2, wanted=(1,))
    np.testing.assert_array_equal(logits(alone[1].network), logits(parted[1].network))


def test_processes_learn_the_same(tmp_path: Path) -> None:
    torch.manual_seed(3)
    pair = [Network(SMALL, phrases=2).eval() for _ in range(2)]

    def learnt(at_once: int, report: Report) -> dict[int, Learnt]:
        told = {number: curve(0.2) for number in (0, 1)}
        some = pair, two_phrases(), CONFIG, report, lambda network: told
        return distil(*some, phrases=2, wanted=(0, 1), at_once=at_once)

    lines: list[str] = []
    apart, together = learnt(2, lines.append), learnt(1, quiet)
    assert list(apart) == [0, 1]
    # What processes do not do is done here: then it would be told here.
    assert len(lines) == 3 and "distillation" not in "".join(lines)
    for number, one in apart.items():
        np.testing.assert_array_equal(logits(one.network), logits(together[number].network))
    assert not np.array_equal(logits(apart[0].network), logits(pair[0]))


def test_the_best_learns_and_stays_where_learning_is_no_good(
    networks: list[Network], pools: Pools
) -> None:
    lines: list[str] = []
    told = judge(0.3, 0.2, 0.4, 0.15, 0.5, 0.6)  # of the three, of their mean, of two points
    kept = distil(networks, pools, CONFIG, lines.append, told)
    assert not kept[0].distilled
    np.testing.assert_array_equal(logits(kept[0].network), logits(networks[1]))
    said = "costs on development recordings"
    assert lines == [
        f"network 1: {said} 0.3000; mean 0.3000",
        f"network 2: {said} 0.2000; mean 0.2000",
        f"network 3: {said} 0.4000; mean 0.4000",
        f"their mean: {said} 0.1500; mean 0.1500",
        f"distillation, step 2 of 4: {said} 0.5000; mean 0.5000",
        f"distillation, step 4 of 4: {said} 0.6000; mean 0.6000",
    ]


def test_phrases_choose_apart() -> None:
    torch.manual_seed(3)
    pair = [Network(SMALL, phrases=2).eval() for _ in range(2)]
    # Of the two, of their mean, of two points: neither phrase is better for the learning.
    told = iter([(0.1, 0.4), (0.2, 0.3), (0.1, 0.1), (0.5, 0.5), (0.5, 0.5)])

    def curves(network: Any) -> dict[int, Curve]:
        return dict(enumerate(map(curve, next(told))))

    kept = distil(pair, two_phrases(), CONFIG, quiet, curves, phrases=2, wanted=(0, 1))
    for phrase, (best, cost) in enumerate(zip(pair, (0.1, 0.3), strict=True)):
        np.testing.assert_array_equal(logits(kept[phrase].network), logits(best))
        assert kept[phrase].cost == pytest.approx(cost)


def test_the_cheapest_point_is_taken(networks: list[Network], pools: Pools) -> None:
    learn = partial(distil, networks, pools, CONFIG, quiet)
    taken = learn(judge(0.3, 0.2, 0.4, 0.15, 0.1, 0.12))[0]
    assert taken.distilled
    first = taken.network
    last = learn(judge(0.3, 0.2, 0.4, 0.15, 0.12, 0.1))[0].network
    assert not np.array_equal(logits(first), logits(last))
    assert not np.array_equal(logits(first), logits(networks[1]))


def test_the_same_networks_and_seed_give_the_same(
    networks: list[Network], pools: Pools, tmp_path: Path
) -> None:
    once, again = (
        distil(networks, pools, replace(CONFIG, loaders=loaders), quiet, gaining(3))[0].network
        for loaders in (0, 1)
    )
    np.testing.assert_array_equal(logits(once), logits(again))
