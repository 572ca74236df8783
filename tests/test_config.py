"""Configuration: layers, types, ranges, messages."""

import os
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from other_user import closed_folder, other_user

from kwsd.config import default_config, load_config, parse_flag, print_config
from kwsd.config_schema import FrontEndSettings
from kwsd.daemon.run import run_service
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.errors import ConfigError, MissingFileError, UsageError


@pytest.fixture
def load(tmp_path):
    """Loads with the files given as text; nothing of the machine's own configuration is seen."""
    system, user = tmp_path / "etc", tmp_path / "xdg" / "kwsd"

    def load(etc="", usr="", conf_d=None, environment=None, **kwargs):
        for directory, text in ((system, etc), (user, usr)):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "kwsd.toml").write_text(text)
        for name, text in (conf_d or {}).items():
            (system / "conf.d").mkdir(exist_ok=True)
            (system / "conf.d" / name).write_text(text)
        env = {"XDG_CONFIG_HOME": str(user.parent), "HOME": str(tmp_path), **(environment or {})}
        flags = [parse_flag(text) for text in kwargs.pop("set", ())]
        return load_config(flags=flags, environment=env, system_directory=system, **kwargs)

    return load


def test_defaults(load):
    config = load()
    assert config.audio.mics is None
    assert config.wake.models == ("computer",)
    assert config.wake.sensitivity == "medium"
    assert {setting.origin for setting in config.settings.values()} == {"default"}


def test_each_layer_wins_over_the_one_before(load, tmp_path):
    def with_(**layers):
        return load(**layers).wake.refractory_s

    layers = {}
    for value, (name, layer) in enumerate(
        {
            "etc": "[wake]\nrefractory_s = {}",
            "usr": "[wake]\nrefractory_s = {}",
            "conf_d": {"50-a.toml": "[wake]\nrefractory_s = {}"},
            "environment": {"KWSD_WAKE_REFRACTORY_S": "{}"},
            "set": ["wake.refractory_s={}"],
        }.items()
    ):
        if isinstance(layer, dict):
            layers[name] = {key: text.format(value) for key, text in layer.items()}
        elif isinstance(layer, list):
            layers[name] = [text.format(value) for text in layer]
        else:
            layers[name] = layer.format(value)
        assert with_(**layers) == value


def test_conf_d_in_order_of_names(load):
    parts = {"9.toml": "wake.refractory_s = 9", "10.toml": "wake.refractory_s = 10"}
    assert load(conf_d=parts).wake.refractory_s == 9


def test_config_file_takes_the_place_of_installed_files(load, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("wake.sensitivity = 'low'")
    config = load(etc="wake.refractory_s = 7", file=path)
    assert (config.wake.sensitivity, config.wake.refractory_s) == ("low", 1.5)
    assert config.settings["wake.sensitivity"].origin == str(path)
    with pytest.raises(MissingFileError):
        load(file=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("audio.mics=[1, 0]", (1, 0)),
        ("audio.mics=1,0", (1, 0)),
        ("audio.mics=1", (1,)),
        ("audio.mics=auto", None),
        ("audio.reference=2", (2,)),
        ("audio.reference=[2]", (2,)),
        ("audio.reference=[]", ()),
        ("audio.reference=none", ()),
        ("dsp.aec=false", False),
        ("dsp.tail_ms=300", 300),
        ("wake.models=a,/b/c", ("a", "/b/c")),
        ('wake.models=["a", "b"]', ("a", "b")),
        ("wake.sensitivity=high", "high"),
        ("wake.sensitivity='high'", "high"),
        ("wake.threshold=0.25", 0.25),
        ("wake.threshold=1", 1.0),
        ("wake.threshold=auto", None),
        ("bus.endpoint=tcp://127.0.0.1:5577", "tcp://127.0.0.1:5577"),
        ("keyword.hey_you.sensitivity=low", "low"),
    ],
)
def test_flag_values(load, flag, value):
    config = load(set=[flag])
    setting = config.settings[flag.partition("=")[0]]
    assert setting.value == value
    assert type(setting.value) is type(value)
    assert setting.origin == "--set"


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("audio.mics=left", r"audio.mics = .*must be a list of channel numbers such as \[0, 1\]"),
        ("audio.mics=-1", "channel numbers"),
        ("dsp.aec=1", "dsp.aec = 1 .*must be true or false"),
        ("dsp.tail_ms=2.5", "whole number from 32 to 512"),
        ("dsp.tail_ms=9999", "dsp.tail_ms = 9999 .--set.: must be .* from 32 to 512"),
        ("wake.threshold=1.5", "a number from 0.01 to 1 or"),
        ("wake.threshold=nan", "a number from 0.01 to 1 or"),
        ("wake.sensitivity=extreme", "must be low or medium or high"),
        ("wake.models=", "list of different, non-empty strings"),
        ("wake.models=a,a", "list of different"),
        ("runtime.order=", "list of different"),
    ],
)
def test_wrong_values_name_key_value_range_and_origin(load, flag, words):
    with pytest.raises(ConfigError, match=words):
        load(set=[flag])


@pytest.mark.parametrize(
    ("flag", "guess"),
    [
        ("wake.refractory=1", "wake.refractory_s"),
        ("wake.sensitivty=high", "wake.sensitivity"),
        ("sensitivity=high", "wake.sensitivity"),
        ("audio.sensitivity=high", "wake.sensitivity"),
        ("audio.mic=0", "audio.mics"),
        ("keyword.x.treshold=0.5", "keyword.x.threshold"),
    ],
)
def test_unknown_key_gets_a_suggestion(load, flag, guess):
    with pytest.raises(ConfigError, match=f"unknown configuration key .* did you mean {guess}"):
        load(set=[flag])


def test_unknown_keys_in_files_and_variables(load):
    with pytest.raises(ConfigError, match=r"wake.colour \(.*kwsd.toml\)"):
        load(etc="[wake]\ncolour = 1")
    with pytest.raises(ConfigError, match="KWSD_WAKE_COLOUR"):
        load(environment={"KWSD_WAKE_COLOUR": "1"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[wake]\n"col\\nour" = 1', r"unknown configuration key 'wake.col\nour' ("),
        ('[keyword."a\\nb"]\nthreshhold = 1', r"did you mean 'keyword.a\nb.threshold'?"),
        ('[keyword."a\\nb"]\nthreshold = 5', r"'keyword.a\nb.threshold' = 5 ("),
        ('[keyword."a\\nb"]\nthreshold = 0x' + "f" * 6000, r"\nb.threshold' = a huge number ("),
        ('"" = 1', "unknown configuration key '' ("),
    ],
)
def test_keys_stay_on_one_line_of_a_message(load, text, said):
    with pytest.raises(ConfigError) as refused:
        load(etc=text)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_variables_of_other_programs_are_not_ours(load):
    others = {
        "KWSD_MQTT_HOST": "broker",
        "KWSD_WYOMING_URI": "tcp://127.0.0.1:10700",
        "KWSD_AIPU_CYCLES": "10",
    }
    config = load(environment={**others, "KWSD_WAKE_SENSITIVITY": "low"})
    assert config.wake.sensitivity == "low"
    assert "mqtt" not in print_config(config)


@pytest.mark.parametrize(
    "variable", ["KWSD_MQTTHOST", "KWSD_MQTT", "KWSD_AIPU_DEVICE", "KWSD_BRIDGE_HOST", "KWSD_"]
)
def test_other_unknown_variables_are_errors(load, variable):
    with pytest.raises(ConfigError, match=rf"unknown configuration key .* \({variable}\)"):
        load(environment={variable: "1"})


def test_broken_file_is_named(load):
    with pytest.raises(ConfigError, match="kwsd.toml is not valid TOML"):
        load(etc="[wake")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wake.refractory_s = " + "9" * 5000, "kwsd.toml is not valid TOML"),
        ("wake.models = " + "[" * 2000 + "]" * 2000, "nested too deeply"),
        ("wake.refractory_s = 0x" + "f" * 6000, "wake.refractory_s = a huge number"),
        ("wake.refractory_s = " + "9" * 400, "wake.refractory_s = a huge number.*must be"),
        ("audio.channels = 0x" + "f" * 6000, "audio.channels = a huge number"),
        ("audio.mics = [0x" + "f" * 6000 + "]", "audio.mics = a huge number"),
        ("audio.mics = [1024]", "audio.mics = .1024. .*must be"),
        ('wake.models = ["a\\u0000b"]', "wake.models = .*must be"),
    ],
    ids=["long", "deep", "hexadecimal", "float", "whole", "channel", "far channel", "no name"],
)
def test_what_python_itself_refuses_is_an_error_of_the_configuration(load, text, words):
    with pytest.raises(ConfigError, match=words):
        load(etc=text)


def load_as_other_user(folder, **kwargs):
    with other_user():
        return load_config(
            environment={"XDG_CONFIG_HOME": "/gone"}, system_directory=folder, **kwargs
        )


def test_a_folder_closed_to_this_user_is_left_out_and_said(caplog):
    with closed_folder() as (folder, group):
        (folder / "kwsd.toml").write_text("wake.refractory_s = 7")
        (folder / "conf.d").mkdir()
        config = load_as_other_user(folder)
    assert config.wake.refractory_s == 1.5
    assert config.unread == (folder / "kwsd.toml",)
    (said,) = caplog.messages
    assert said == (
        f"{folder}/kwsd.toml is left out: this user may not read it; "
        f"members of the group {group} may"
    )


def test_closed_parts_in_an_open_folder_are_left_out(caplog):
    with closed_folder() as (folder, _):
        folder.chmod(0o755)
        (folder / "kwsd.toml").write_text("wake.refractory_s = 7")
        (folder / "kwsd.toml").chmod(0o600)
        (folder / "conf.d").mkdir(mode=0o700)
        config = load_as_other_user(folder)
    assert config.unread == (folder / "conf.d", folder / "kwsd.toml")
    assert caplog.messages[1].endswith(
        "kwsd.toml is left out: this user may not read it; only root may"
    )


def test_a_named_file_must_be_readable():
    with closed_folder() as (folder, group):
        (folder / "mine.toml").touch()
        words = rf"--config .*mine\.toml cannot be read: Permission denied .*group {group} may"
        with pytest.raises(ConfigError, match=words):
            load_as_other_user(folder, file=folder / "mine.toml")
        folder.chmod(0o755)
        (folder / "mine.toml").chmod(0o600)
        with pytest.raises(ConfigError, match=r"Permission denied \(only root may\)"):
            load_as_other_user(folder, file=folder / "mine.toml")


def test_the_service_needs_what_was_left_out():
    partial = replace(default_config(), unread=(Path("/etc/kwsd/kwsd.toml"),))
    with pytest.raises(ConfigError, match=r"kwsd\.toml cannot be read by this user"):
        run_service(partial, default_config)


def test_keyword_section(load):
    config = load(
        etc='[keyword.computer]\nsensitivity = "high"',
        environment={"KWSD_KEYWORD_HEY_YOU_REFRACTORY_S": "3"},
    )
    assert config.keyword("computer").sensitivity == "high"
    assert config.keyword("computer").threshold is None
    assert config.keyword("hey_you").refractory_s == 3.0
    assert config.keyword("other").sensitivity is None


def test_model_option(load):
    config = load(models=["a,b", "c"], set=["wake.models=x"])
    assert config.wake.models == ("a,b", "c")
    assert config.settings["wake.models"].origin == "--model"


def test_dsp_section_is_that_of_the_front_end():
    assert asdict(FrontEndSettings()) == asdict(FrontEndConfig())


def test_flag_needs_a_value():
    with pytest.raises(UsageError, match="key=value"):
        parse_flag("wake.sensitivity")


@pytest.mark.parametrize("kind", ["folder", "dangling", "circle", "pipe"])
def test_what_is_no_file_is_not_taken_for_none(tmp_path, kind):
    path = tmp_path / "kwsd.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("gone" if kind == "dangling" else path.name)
    with pytest.raises(ConfigError, match=r"kwsd\.toml (is not a file|cannot be read)"):
        load_config(environment={"XDG_CONFIG_HOME": "/gone"}, system_directory=tmp_path)
    path.rmdir() if kind == "folder" else path.unlink()
    path.symlink_to("/dev/null")
    load_config(environment={"XDG_CONFIG_HOME": "/gone"}, system_directory=tmp_path)


def test_hidden_parts_do_not_count(load):
    config = load(conf_d={".10-mic.toml": "wake.refractory_s = 7", ".#a.toml": "no TOML"})
    assert config.wake.refractory_s == 1.5


def test_a_keyword_with_a_dot_has_a_section(load):
    for config in (
        load(etc='[keyword."hey_mr._smith"]\nthreshold = 0.7'),
        load(set=["keyword.hey_mr._smith.threshold=0.7"]),
    ):
        assert config.keyword("hey_mr._smith").threshold == 0.7
        assert '[keyword."hey_mr._smith"]' in print_config(config)
    with pytest.raises(ConfigError, match="did you mean keyword.hey_mr._smith.threshold"):
        load(set=["keyword.hey_mr._smith.treshold=0.7"])


def test_sections_are_printed_once_whatever_layer_they_come_from(load):
    config = load(
        etc="[keyword.a]\nthreshold = 0.5\n[keyword.b]\nthreshold = 0.6",
        set=["keyword.a.sensitivity=high"],
    )
    assert tomllib.loads(print_config(config))["keyword"] == {
        "a": {"threshold": 0.5, "sensitivity": "high"},
        "b": {"threshold": 0.6},
    }


def test_print_config_can_be_read_back(load, tmp_path):
    flags = ["audio.mics=1,0", "keyword.a.threshold=0.5", "bus.endpoint=ipc://a b"]
    config = load(set=flags)
    text = print_config(config)
    assert "mics = [1, 0]  # --set" in text
    assert "# default" in text
    tomllib.loads(text)
    path = tmp_path / "again.toml"
    path.write_text(text)
    again = load(file=path)
    assert {k: s.value for k, s in again.settings.items()} == {
        k: s.value for k, s in config.settings.items()
    }
