"""A committee: members trained apart, at once or one after the other, and asked as one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from kwsd.dsp.features import BANDS  # noqa: E402
from kwsd.errors import RuntimeUnavailable  # noqa: E402
from kwsd.progress import Report  # noqa: E402
from kwsd.train.committee import Committee, member_seed, train_members  # noqa: E402
from kwsd.train.network import Network, Shape  # noqa: E402

SMALL = Shape(channels=4, filters=((3, 6, 2),), kernels=(3,), dilations=(1,))


def seeded(seed: int) -> Network:
    torch.manual_seed(seed)
    return Network(SMALL, phrases=2)


def quiet(_: str) -> None:
    return None


def test_a_committee_says_the_mean_of_its_members_in_evaluation_mode() -> None:
    members = [seeded(1), seeded(2), seeded(3)]
    features = torch.randn(2, BANDS, 40)
    committee = Committee(members).train()
    with torch.no_grad():
        said = committee(features)
        alone = [member.eval()(features) for member in members]
    np.testing.assert_allclose(said.numpy(), np.mean(alone, axis=0), atol=1e-6)
    assert len(committee) == 3
    assert not any(weight.requires_grad for weight in committee.parameters())


class Trainer:
    """Leaves in a folder what it was asked for, as a training does with its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.complete: list[int] = []

    def __call__(self, number: int, report: Report) -> Network:
        kept = self.folder / f"{number}.pt"
        network = seeded(member_seed(4, number))
        if kept.is_file():
            network.load_state_dict(torch.load(kept, weights_only=True))
            self.complete.append(number)
        else:
            report("trained")
            torch.save(network.state_dict(), kept)
            (self.folder / f"{number}.pid").write_text(str(os.getpid()))
        return network


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_processes_change_nothing(workers: int, tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    committee = train_members(trainer, 3, workers, quiet)
    for number, member in enumerate(committee.members, 1):
        expected = seeded(member_seed(4, number)).state_dict()
        for name, value in member.state_dict().items():
            assert torch.equal(value, expected[name])
    pids = {int((tmp_path / f"{number}.pid").read_text()) for number in (1, 2, 3)}
    if workers == 1:
        assert pids == {os.getpid()} and not trainer.complete
    else:
        assert len(pids) == 3 and os.getpid() not in pids
        assert trainer.complete == [1, 2, 3]


def test_a_line_names_its_network(tmp_path: Path) -> None:
    lines: list[str] = []
    train_members(Trainer(tmp_path), 2, 1, lines.append)
    assert lines == ["network 1: trained", "network 2: trained"]


def test_a_process_that_was_killed_is_said_and_ends_the_command(tmp_path: Path) -> None:
    def killed(number: int, report: Report) -> Network:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return Trainer(tmp_path)(number, report)

    with pytest.raises(RuntimeUnavailable, match="1 of 2 networks ended with exit code -9"):
        train_members(killed, 2, 2, quiet)


def test_seeds_of_members_are_their_own() -> None:
    seeds = [member_seed(seed, number) for seed in range(10) for number in range(1, 6)]
    assert len(set(seeds)) == len(seeds) and not set(seeds) & set(range(10))
