"""Home Assistant's MQTT discovery: which messages make entities of what a bridge publishes.

Format: Home Assistant, "MQTT discovery", with the components event, binary_sensor and
device_automation. A payload is retained, so that it is there after a restart of either side.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from kwsd import __version__


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of one bridge."""

    prefix: str
    """Such as ``kwsd``."""

    node: str
    """Such as ``kitchen``."""

    def of(self, leaf: str) -> str:
        """``PREFIX/NODE/leaf``."""
        return f"{self.prefix}/{self.node}/{leaf}"


def slug(keyword: str) -> str:
    """A keyword as a part of a topic: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", keyword)


def entities(topics: Topics, discovery_prefix: str) -> dict[str, str]:
    """Discovery messages of the entities that are always there: payload by topic."""
    made: dict[str, dict[str, object]] = {
        "event/wake": {
            "name": "Wake word",
            "icon": "mdi:account-voice",
            "state_topic": topics.of("wake"),
            # One type for all keywords: they may change without a new discovery. The keyword is
            # the attribute "name".
            "event_types": ["wake"],
        },
        "binary_sensor/muted": {
            "name": "Microphone muted",
            "icon": "mdi:microphone-off",
            "state_topic": topics.of("muted"),
            "entity_category": "diagnostic",
        },
        "binary_sensor/problem": {
            "name": "Audio input",
            "device_class": "problem",
            "state_topic": topics.of("problem"),
            "json_attributes_topic": topics.of("audio"),
            "entity_category": "diagnostic",
        },
    }
    messages = {}
    for place, config in made.items():
        component, thing = place.split("/")
        common = {
            "unique_id": f"kwsd_{topics.node}_{thing}",
            "default_entity_id": f"{component}.kwsd_{topics.node}_{thing}".lower().replace(
                "-", "_"
            ),
            "availability_topic": topics.of("availability"),
            "qos": 1,
        }
        messages[f"{discovery_prefix}/{component}/{topics.node}/{thing}/config"] = _payload(
            topics, {**config, **common}
        )
    return messages


def trigger(topics: Topics, discovery_prefix: str, keyword: str) -> tuple[str, str]:
    """Topic and payload of the device trigger of one keyword."""
    place = f"{discovery_prefix}/device_automation/{topics.node}/wake_{slug(keyword)}/config"
    config = {
        "automation_type": "trigger",
        "type": "wake_word",
        "subtype": keyword,
        "topic": topics.of("wake"),
        "value_template": "{{ value_json.name }}",
        "payload": keyword,
        "qos": 1,
    }
    return place, _payload(topics, config)


def _payload(topics: Topics, config: dict[str, object]) -> str:
    device = {
        "identifiers": [f"kwsd_{topics.node}"],
        "name": f"kwsd {topics.node}",
        "manufacturer": "kwsd",
        "model": "Wake-word daemon",
        "sw_version": __version__,
    }
    origin = {"name": "kwsd-mqtt", "sw_version": __version__}
    return json.dumps({**config, "device": device, "origin": origin}, ensure_ascii=False)
