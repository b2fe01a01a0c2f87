"""Checks that any AsyncAPI document of ours has to pass, and of a message against it."""

from __future__ import annotations

from typing import Any

import jsonschema

Document = dict[str, Any]


def check_document(document: Document, channel: str) -> None:
    """Every reference leads somewhere, every schema is one, and each message is listed and sent by one side."""

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(ref := node.get("$ref"), str):
                target: Any = document
                for part in ref.removeprefix("#/").split("/"):
                    target = target[part]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert document["asyncapi"].startswith("3.")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    listed = set(document["channels"][channel]["messages"])
    operated = [m["$ref"].rpartition("/")[2] for o in document["operations"].values() for m in o["messages"]]
    assert sorted(operated) == sorted(listed) == sorted(document["components"]["messages"])


def check_message(document: Document, schema: str, message: Any) -> None:
    """
    Raises:
        jsonschema.ValidationError: it does not fit.
    """
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(message)
