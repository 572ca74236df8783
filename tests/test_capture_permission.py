"""Sound cards that this user may not open: said so, though libasound says that there are none."""

from __future__ import annotations

import tempfile
from pathlib import Path

from other_user import other_user

from kwsd.capture.alsa import no_card_may_be_used


def test_cards_that_may_not_be_opened() -> None:
    with tempfile.TemporaryDirectory(prefix="kwscards") as folder:
        devices = Path(folder)
        devices.chmod(0o755)
        assert not no_card_may_be_used(devices), "none there is another matter"
        assert not no_card_may_be_used(devices / "snd")
        for number in range(2):
            (devices / f"controlC{number}").touch()
            (devices / f"controlC{number}").chmod(0o600)
        assert not no_card_may_be_used(devices)
        with other_user():
            assert no_card_may_be_used(devices)
        (devices / "controlC1").chmod(0o666)
        with other_user():
            assert not no_card_may_be_used(devices)
