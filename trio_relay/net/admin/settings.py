"""The settings as operators see them: what is in force, where it comes from, and what changes it at run time."""

from __future__ import annotations

from typing import Final

from trio_relay.net.admin.params import Call, Outcome
from trio_relay.net.admin.sight import SettingRecord, shown
from trio_relay.policy.lists import ListName

_CHANGING: Final = {"name": "changerelayname", "description": "changerelaydescription", "icon": "changerelayicon"}
_ADDING: Final = {
    "policy.allowed_pubkeys": "allowpubkey",
    "policy.denied_pubkeys": "banpubkey",
    "policy.allowed_kinds": "allowkind",
    "policy.denied_kinds": "disallowkind",
    "policy.denied_words": "denyword",
    "policy.denied_addresses": "blockip",
    "members.claims": "createinvite",
}


def list_settings(call: Call) -> Outcome:
    """All settings, in the order of the sample file."""
    call.at_most(0)
    return Outcome([_line(call, record) for record in call.settings()])


def _line(call: Call, record: SettingRecord) -> dict[str, object]:
    value, more, origin, method = record.value, record.more, record.origin, None
    if record.section == "policy":  # lists that stand in files change while the relay runs
        value, more = shown(getattr(call.rules.options, record.key))
    elif record.section == "relay":
        method = _CHANGING.get(record.key)
        entry = call.rules.lists.get(ListName.IDENTITY, record.key, call.now)
        value, origin = (value, origin) if entry is None else (entry.reason, "NIP-86")
    line: dict[str, object] = {
        "section": record.section,
        "key": record.key,
        "value": value,
        "default": record.default,
        "from": origin,
        "variable": record.variable,
        "text": record.text,
        "unit": record.unit,
        "bounds": record.bounds,
        "method": method,
        "live": record.is_live,
    }
    where = {"file": record.file, "files": list(record.files)}
    known = {"more": more, **where, "adds": _ADDING.get(f"{record.section}.{record.key}")}
    if record.waiting is not None:
        line["waits"] = record.waiting
    return line | {field: what for field, what in known.items() if what}
