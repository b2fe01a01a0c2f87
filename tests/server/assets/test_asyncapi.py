"""The AsyncAPI document says what is said on the assets' socket: all that a server sends fits, and all comes up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import numpy as np
import pytest
import yaml

from mapping.transforms import Sim3
from server import protocol as p
from server.api import assets_socket
from server.assets import messages as m
from server.assets.backlog import Backlog
from server.assets.database import Event
from server.assets.leases import MAX_HELD
from tests.server.assets.live import Live, Talk, live
from tests.server.assets.things import thing
from tests.server.documents import check_document, check_message

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(m.__file__).parent / "asyncapi.yaml").read_text())
SCHEMAS, MESSAGES = DOCUMENT["components"]["schemas"], DOCUMENT["components"]["messages"]
PLACEMENT = {"scene": "main", "epoch": 0, "position_m": [0, 0, 0]}


def schema_of(type: str) -> str:
    """Which schema a message of the server has to fit; its greeting is called as the client's is."""
    return str(MESSAGES["welcome" if type == "hello" else type]["payload"]["$ref"].rpartition("/")[2])


def sent(side: str) -> set[str]:
    """Types of the messages that one side sends."""
    return {ref["$ref"].rpartition("/")[2] for ref in DOCUMENT["operations"][side]["messages"]}


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    check_document(DOCUMENT, "assets")


def test_the_document_has_the_address_and_subprotocol_of_the_code() -> None:
    channel = DOCUMENT["channels"]["assets"]
    headers = channel["bindings"]["ws"]["headers"]["properties"]
    assert headers["Sec-WebSocket-Protocol"]["const"] == assets_socket.SUBPROTOCOL
    routes = assets_socket.router(None, None).routes  # type: ignore[arg-type]
    assert [route.path for route in routes] == [channel["address"]]  # type: ignore[attr-defined]
    for code in (p.CLOSE_BAD_MESSAGE, p.CLOSE_UNAUTHORIZED, p.CLOSE_UNSUPPORTED, p.CLOSE_TOO_SLOW):
        assert str(code) in DOCUMENT["info"]["description"]


@pytest.mark.parametrize("struct", get_args(m.Message), ids=lambda struct: struct.__name__)
def test_messages_of_clients_have_the_fields_of_the_code(struct: type[msgspec.Struct]) -> None:
    schema = SCHEMAS[struct.__name__]
    assert schema["properties"]["type"]["const"] == struct.__struct_config__.tag
    assert set(schema["properties"]) == {"type", *struct.__struct_encode_fields__}
    required = {field.name for field in msgspec.structs.fields(struct) if field.required}
    assert set(schema["required"]) == {"type", *required}
    assert sent("ask") == {kind.__struct_config__.tag for kind in get_args(m.Message)}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "hello", "client": "x", "token": "t", "epoch": "e"},
        {"type": "bind", "slot": "place"},
        {"type": "unbind", "slot": "place"},
        {"type": "ack", "slot": "place", "rev": 1, "state": "ready"},
        {"type": "ping", "t0_ms": 1.5, "held": [["place", "chair", 1]]},
    ],
    ids=lambda message: message["type"],
)
def test_what_fits_the_document_is_understood_and_what_does_not_is_not(message: dict[str, Any]) -> None:
    name = type(m.read(json.dumps(message))).__name__
    check_message(DOCUMENT, name, message)
    for field in SCHEMAS[name]["required"]:
        less = {key: value for key, value in message.items() if key != field}
        with pytest.raises(jsonschema.ValidationError):
            check_message(DOCUMENT, name, less)
        with pytest.raises(m.Malformed):
            m.read(json.dumps(less))


class Ear:
    """A socket, and all that was heard on it."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.heard = talk, list[dict[str, Any]]()

    async def until(self, type: str) -> dict[str, Any]:
        while not self.heard or self.heard[-1]["type"] != type:
            self.heard.append(await self.talk.hear())
        return self.heard[-1]


async def let_everything_happen(server: Live, ear: Ear) -> None:
    """All that can happen to assets and slots."""
    http, talk = server.http, ear.talk
    await talk.say(type="hello", client="test")
    await talk.say(type="bind", slot="place")
    for asset in ("old", "new"):
        await server.publish(asset, thing(asset), about={"tags": ["wood"]})
    await http.put("/v1/assets/old", json={"name": "renamed"})
    await http.put("/v1/slots/place", json={"asset": "old", "watch_s": 0, "placement": PLACEMENT})
    rev = (await ear.until("slot.prepare"))["rev"]
    await talk.say(type="bind", slot="place")
    await talk.say(type="ack", slot="place", rev=rev, state="ready")
    await ear.until("slot.settled")
    await http.put("/v1/assets/old/placement", json=PLACEMENT)
    channel = server.scenes.bus.find("main")
    assert channel is not None
    channel.move(Sim3(2.0, np.eye(3), np.ones(3)), 1, "marker")
    await http.put("/v1/slots/place", json={"asset": "new", "policy": "now", "watch_s": 600})
    await http.post("/v1/slots/place/rollback", json={})
    await http.post("/v1/assets/hot-swap", json={"old": "old", "new": "new"})
    await http.delete("/v1/slots/place")
    await http.delete("/v1/assets/new?reason=ugly")
    for number in range(MAX_HELD + 1):
        await talk.say(type="bind", slot=f"slot{number}")
    await talk.say(type="ping", t0_ms=0)
    await ear.until("pong")


async def test_everything_a_busy_server_sends_fits(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        async with server.opened() as made:
            ear = Ear(Talk(made))
            await let_everything_happen(server, ear)
        async with server.socket(since=99_999) as ahead:
            resync = await ahead.hear()
    backlog = Backlog(max_keys=1)
    for seq in range(1, 5):
        backlog.push(Event(seq, "asset.changed", "same", None, b"{}"))
    heard = [*ear.heard, resync, json.loads(backlog.pop() or b"")]
    for message in heard:
        check_message(DOCUMENT, schema_of(message["type"]), message)
    assert {"welcome" if one["type"] == "hello" else one["type"] for one in heard} == sent("tell")


def test_the_check_can_fail() -> None:
    for message in ({"type": "resync"}, {"type": "resync", "seq": 1, "more": 2}, {"type": "resync", "seq": "1"}):
        with pytest.raises(jsonschema.ValidationError):
            check_message(DOCUMENT, schema_of("resync"), message)
