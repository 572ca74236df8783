"""Sound cards by name, from a copy of what the kernel lists."""

from pathlib import Path

from kwsd.capture.cards import capture_cards

CARDS = """\
 0 [audiocodec     ]: audiocodec - audiocodec
                      audiocodec
 2 [Device         ]: USB-Audio - USB Audio Device
                      C-Media USB Audio Device at usb-1, full speed
"""


def test_capture_devices_have_names_that_outlive_a_boot(tmp_path: Path) -> None:
    (tmp_path / "cards").write_text(CARDS)
    for name in ("card0/pcm0c", "card0/pcm0p", "card2/pcm0p", "card2/pcm1c"):
        (tmp_path / name).mkdir(parents=True)
    assert [card.device for card in capture_cards(tmp_path)] == [
        "hw:CARD=audiocodec,DEV=0",
        "hw:CARD=Device,DEV=1",
    ]


def test_no_sound_is_an_empty_list(tmp_path: Path) -> None:
    assert capture_cards(tmp_path) == []
    (tmp_path / "cards").write_text("--- no soundcards ---\n")
    assert capture_cards(tmp_path) == []
