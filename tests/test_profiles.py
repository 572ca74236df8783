"""Board profiles: what is shipped, their place among the layers, and the mixer they set."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_microphone import VirtualMicrophone, missing

from kwsd.capture.mixer import ProfileMixer, set_controls
from kwsd.config import load_config, parse_flag, print_config
from kwsd.config_schema import KEYS
from kwsd.config_value import check_value
from kwsd.daemon.input import device_channels
from kwsd.errors import ConfigError
from kwsd.profile import EVIDENCE, MixerControl, load_profile, parse_profile, profile_names
from kwsd.source.channels import map_channels


def load(tmp_path: Path, text: str = "", *flags: str):
    (tmp_path / "kwsd.toml").write_text(text)
    return load_config(
        file=tmp_path / "kwsd.toml", flags=[parse_flag(flag) for flag in flags], environment={}
    )


def test_the_first_board_is_shipped() -> None:
    assert {"r329", "usb-microphone", "respeaker-2mic", "voice-bonnet"} <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles_give_a_whole_configuration(name: str, tmp_path: Path) -> None:
    profile = load_profile(name)
    assert profile.description and profile.evidence in EVIDENCE
    config = load(tmp_path, f"audio.profile = '{name}'")
    channels = device_channels(config.audio)
    mapped = map_channels(channels, config.audio.mics, config.audio.reference)
    assert len(mapped.mics) in (1, 2)
    for key, value in profile.values.items():
        assert config.settings[key].value == check_value(KEYS[key], value, "")
        assert config.settings[key].origin == f"profile {name}"


def test_r329_opens_as_many_channels_as_switches_are_on() -> None:
    profile = load_profile("r329")
    switches = [c.value for c in profile.controls if c.name.endswith(" Switch")]
    assert sum(switches) == profile.values["audio.channels"] == 3
    assert [c.name for c in profile.controls][: len(switches)] == [
        f"MIC{number} Switch" for number in range(1, 6)
    ]


def test_the_users_own_values_win_whatever_the_layer(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[audio]\nprofile = 'r329'\nreference = []\nrate_hz = 16000\n",
        "audio.device=hw:CARD=mine",
    )
    assert config.audio.reference == ()
    assert config.audio.device == "hw:CARD=mine"
    assert config.audio.channels == 3
    # A value that is set to the same as the default is set all the same.
    assert config.settings["audio.rate_hz"].origin.endswith("kwsd.toml")
    assert "channels = 3  # profile r329" in print_config(config)
    assert 'device = "hw:CARD=mine"  # --set' in print_config(config)


def test_a_profile_of_the_users_own(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        "description = 'x'\nevidence = 'board'\n[audio]\nmics = [1]\n[dsp]\ntail_ms = 64"
    )
    config = load(tmp_path, f"audio.profile = '{own}'")
    assert config.audio.mics == (1,)
    assert config.frontend.tail_ms == 64
    assert config.settings["dsp.tail_ms"].origin == f"profile {own}"


@pytest.mark.parametrize("name", ["own.toml", "./own.toml", "boards/../own.toml"])
def test_a_path_in_a_file_is_taken_from_that_files_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "own.toml").write_text("[audio]\nmics = [1]")
    (tmp_path / "kwsd.toml").write_text(f"[audio]\nprofile = '{name}'")
    # As under systemd, and as the daemon's input loads it again.
    monkeypatch.chdir("/")
    config = load(tmp_path, f"audio.profile = '{name}'")
    assert config.audio.mics == (1,)
    assert config.audio.profile is not None
    assert load_profile(config.audio.profile).values == {"audio.mics": [1]}
    assert f'profile = "{tmp_path}/' in print_config(config)
    installed = load_config(environment={"XDG_CONFIG_HOME": "/gone"}, system_directory=tmp_path)
    assert installed.audio.profile == config.audio.profile
    # A file that is named by a relative path, and a profile by the command line.
    monkeypatch.chdir(tmp_path)
    assert load_config(file=Path("kwsd.toml"), environment={}).audio == config.audio
    flag = load_config(flags=[("audio.profile", "own.toml", "--set")], environment={})
    assert flag.audio.profile == "own.toml" and flag.audio.mics == (1,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[audio]\nmic = [0]", "unknown configuration key audio.mic (profile"),
        ("[audio]\nrate_hz = 1", "audio.rate_hz = 1 (profile"),
        ("[audio]\nprofile = 'r329'", "cannot stand in a profile"),
        ("[wake]\nthreshold = 0.5", "key wake is not known"),
        ('"wa\\nke" = 1', r"key 'wa\nke' is not known"),
        ("evidence = 'hearsay'", "board or documents"),
        ("[[mixer.control]]\nname = 'x'", "must have a name and a value"),
        ("[[mixer.control]]\nname = 'x'\nvalue = 0.5", "a whole number"),
        ("audio = 3", "audio must be a table"),
        ("[audio", "not valid TOML"),
        ("audio = " + "[" * 2000, "nested too deeply"),
    ],
)
def test_wrong_profiles(text: str, says: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(tmp_path, f"audio.profile = '{own}'")
    assert says in str(error.value)


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean r329"):
        load(tmp_path, "audio.profile = 'r328'")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path, "audio.profile = './r329.toml'")


def test_a_card_that_is_not_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    control = {"name": "Capture Volume", "value": 3}
    profile = parse_profile("mine", {"mixer": {"control": [control]}})
    mixer = ProfileMixer(profile, "plughw:CARD=nowhere,DEV=0")
    first = mixer.apply()
    assert len(first) == 1 and first[0].startswith("mixer hw:nowhere: ")
    assert mixer.apply() == first
    assert len(caplog.records) == 1, "the same warning at each try of a lost device"
    assert caplog.records[0].message.startswith("profile mine: mixer hw:nowhere: ")


@pytest.fixture
def card() -> Iterator[tuple[VirtualMicrophone, dict[str, str]]]:
    """A card with real controls: those of ALSA's pulse plugin."""
    if missing():
        pytest.skip(f"no {missing()}: install pulseaudio, pulseaudio-utils and libasound2-plugins")
    with tempfile.TemporaryDirectory(prefix="kwsd") as folder:
        made = VirtualMicrophone(Path(folder), 2)
        with (Path(folder) / "asound.conf").open("a") as stream:
            stream.write('ctl.virtmic { type pulse source "virtmic" sink "virtsink" }\n')
        yield made, {**os.environ, **made.environment}
        made.stop()


_SET = """
import sys
from kwsd.capture.mixer import set_controls
from kwsd.profile import MixerControl
print(set_controls("virtmic", [MixerControl(n, v) for n, v in {controls!r}]))
"""


def test_controls_of_a_real_mixer(card: tuple[VirtualMicrophone, dict[str, str]]) -> None:
    microphone, environment = card

    def apply(*controls: tuple[str, object]) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", _SET.format(controls=list(controls))],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert done.stderr == ""
        return list(eval(done.stdout))

    def level() -> str:
        return subprocess.run(
            ["pactl", "get-source-volume", "virtmic"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert apply(("Capture Volume", "40 %"), ("Capture Switch", True)) == []
    assert "40%" in level()
    assert apply(("Capture", 65536)) == []
    assert "100%" in level()
    lines = apply(
        ("Capture Volume", 10**6),
        ("Gain of nothing", 3),
        ("Capture", "loud"),
        ("Capture Volume", "50 %"),
    )
    assert len(lines) == 3
    assert "must be 0 to" in lines[0]
    assert "there is no such control; there are" in lines[1] and "Capture" in lines[1]
    assert "it takes no word" in lines[2]
    assert "50%" in level(), "a fault must not keep the next control from being set"


def test_no_control_at_all() -> None:
    assert len(set_controls("hw:nowhere", [MixerControl("x", True)])) == 1
