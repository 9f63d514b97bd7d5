"""The pages of the console: what is on them, for whom, and that no text from outside becomes a part of one."""

from __future__ import annotations

import html
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.net.web.canned import ACTING, ID, KEY, CannedApi, Desk, Outline, StillVitals, answers
from trio_relay.net import web
from trio_relay.nostr import errors, nip19

pytestmark = pytest.mark.usefixtures("inline_threads")

PATHS = [path for path, page in web.assembly.menu(StillVitals()).items() if "." not in path]
SHOWN = {
    "clients/one": {"client": "0-1"},
    "why": {"text": '["REQ", "a", {}]'},
    "store/find": {"author": KEY},
    "members/invites": {"claim": "3c" * 16},
}
"""What a page is asked so that it shows all that it has."""
HOSTILE = """"'><script>alert(1)</script><img src=x onerror=y> {{ 7*7 }} --> ]]> &amp; \x00 \u202e"""


@pytest.mark.parametrize("path", PATHS)
async def test_each_page_is_whole_html_without_anything_inline(path: str) -> None:
    page = Outline(await Desk().text(path, **SHOWN.get(path, {})))
    names = {name for name, _ in page.attributes}
    assert "style" not in names
    assert {name for name in names if name.startswith("on")} == set()
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert all("src" in attributes for attributes in scripts)
    assert "style" not in {tag for tag, _ in page.elements}
    assert [tag for tag, _ in page.elements].count("h1") == 1


@pytest.mark.parametrize("path", PATHS)
async def test_text_from_outside_makes_no_element_and_no_attribute(path: str) -> None:
    """Whatever it is, the page has the same elements with the same attributes."""
    plain = Outline(await Desk().text(path, **SHOWN.get(path, {})))
    page = await Desk(CannedApi(answers(HOSTILE))).text(path, **SHOWN.get(path, {}))
    assert Outline(page).elements == plain.elements
    assert "<script>alert" not in page


@given(text=st.text(min_size=1, max_size=60), path=st.sampled_from(PATHS))
@example(text="{", path="moderation/log")
async def test_any_text_makes_no_element_and_no_attribute(text: str, path: str) -> None:
    plain = Outline(await Desk().text(path, **SHOWN.get(path, {})))
    hostile = Desk(CannedApi(answers(f"<{text}")))
    assert Outline(await hostile.text(path, **SHOWN.get(path, {}))).elements == plain.elements


@given(query=st.text(max_size=60))
@pytest.mark.parametrize("path", ["clients", "moderation/log", "moderation/banned-keys"])
async def test_what_is_searched_for_makes_no_element(path: str, query: str) -> None:
    names = {"q": query, "who": query, "method": query, "item": query, "page": query}
    Outline(await Desk().text(path, **names))


async def test_the_menu_has_what_the_caller_may_call_and_nothing_else() -> None:
    desk = Desk(CannedApi(methods=frozenset({"listbannedpubkeys", "unbanpubkey"})))
    page = Outline(await desk.text("moderation/banned-keys"))
    links = [value for name, value in page.attributes if name == "href" and value.startswith("/admin")]
    assert set(links) == {"/admin/moderation/banned-keys"}
    for path in PATHS:
        if path != "moderation/banned-keys":
            refused = await desk.get(path)
            assert refused.status == 403
            assert b"You may call none of the methods" in refused.body


async def test_who_may_only_look_gets_no_form_that_changes_anything() -> None:
    desk = Desk(CannedApi(methods=frozenset(answers())))
    for path in PATHS:
        page = Outline(await desk.text(path, **SHOWN.get(path, {})))
        actions = {value for name, value in page.attributes if name == "action"}
        assert actions <= {"/admin/logout", "/admin/why"}, path


async def test_a_list_goes_on_over_pages_of_a_hundred() -> None:
    told = answers() | {"listblockedips": [{"ip": f"192.0.2.{number}", "reason": ""} for number in range(250)]}
    desk = Desk(CannedApi(told))
    first = await desk.text("moderation/barred-addresses")
    assert "192.0.2.249" in first and "192.0.2.149<" not in first  # noqa: PT018  # both of one page
    assert 'href="?page=2"' in first
    last = await desk.text("moderation/barred-addresses", page="3")
    assert "Page 3 of 3" in last
    assert "192.0.2.49<" in last
    for beyond in ("99", "0", "-1", "x", "²", "9" * 20):
        assert "Page " in await desk.text("moderation/barred-addresses", page=beyond)
    found = await desk.text("moderation/barred-addresses", q="192.0.2.7")
    assert "192.0.2.77" in found
    assert "192.0.2.8<" not in found


async def test_a_form_calls_its_method_and_says_in_words_what_was_done() -> None:
    desk = Desk()
    reply = await desk.send(method="banpubkey", s0=KEY, s1="spam", d2="86400", back="moderation/banned-keys?page=2")
    assert (reply.status, dict(reply.headers)["Location"]) == (303, "/admin/moderation/banned-keys?page=2")
    assert desk.api.calls == [("banpubkey", [KEY, "spam", desk.login.time + 86_400], KEY)]
    assert await desk.told() == f"Banned the key {nip19.npub_of(KEY)[:10]}…{nip19.npub_of(KEY)[-9:]}."
    assert await desk.told() == "", "it is said once"


async def test_a_refused_form_says_why() -> None:
    desk = Desk()
    desk.api.refusal = errors.Rejected(errors.Prefix.RESTRICTED, "this key is <your> own")
    await desk.send(method="banpubkey", s0=KEY)
    desk.api.refusal = None
    assert await desk.told() == "Not done: this key is <your> own."


async def test_a_method_that_answers_no_has_not_done_it() -> None:
    desk = Desk(CannedApi(answers() | {"banpubkey": [False, "no such key"]}))
    await desk.send(method="banpubkey", s0=KEY)
    assert await desk.told() == "Not done: no such key."


@pytest.mark.parametrize(
    ("name", "text"), [("n0", "x"), ("n0", "9" * 5_000), ("j0", "{"), ("j0", "[" * 60_000), ("d0", "soon")]
)
async def test_a_field_that_cannot_be_read_does_nothing(name: str, text: str) -> None:
    desk = Desk()
    await desk.send(method="allowkind", **{name: text})
    assert desk.api.calls == []
    assert await desk.told() == "Not done: a field of the form cannot be read."


@given(back=st.text(max_size=80) | st.sampled_from(["//evil.example", "moderation?\r\nSet-Cookie: a=b", "\\\\evil"]))
async def test_a_form_leads_nowhere_but_to_the_console(back: str) -> None:
    reply = await Desk().send(method="allowkind", n0="1", back=back)
    to = dict(reply.headers)["Location"]
    assert to.isprintable()
    assert to.isascii()
    parts = urlsplit(to)
    assert (parts.scheme, parts.netloc) == ("", "")
    path = parts.path.removeprefix("/admin").removeprefix("/")
    assert parts.path == (f"/admin/{path}" if path else "/admin")
    assert path in web.assembly.menu(StillVitals())


async def test_a_form_brings_back_the_page_that_it_was_on() -> None:
    desk = Desk()
    page = Outline(await desk.text("moderation/banned-keys", q="a&b=c", page="1"))
    back = {value for name, value in page.attributes if name == "value" and value.startswith("moderation/")}
    assert len(back) == 1
    reply = await desk.send(method="unbanpubkey", s0=KEY, back=back.pop())
    assert parse_qs(urlsplit(dict(reply.headers)["Location"]).query) == {"q": ["a&b=c"], "page": ["1"]}


async def test_the_log_can_be_downloaded_whole() -> None:
    acts = [answers()["listacts"][0] | {"act": f"{number:03}"} for number in range(450, 0, -1)]

    def listed(wanted: dict[str, str]) -> list[object]:
        assert wanted["who"] == KEY
        return [act for act in acts if not "" < wanted.get("before", "") <= act["act"]][:200]

    desk = Desk(CannedApi(answers() | {"listacts": listed}))
    reply = await desk.get("moderation/log.jsonl", who=KEY)
    assert reply.content_type == "application/jsonl"
    assert len(reply.body.splitlines()) == 450
    page = await desk.text("moderation/log", who=KEY)
    assert "before=351" in page


async def test_a_page_whose_method_fails_says_so() -> None:
    desk = Desk()
    desk.api.refusal = errors.Rejected(errors.Prefix.ERROR, "the store is away")
    reply = await desk.get("moderation")
    assert reply.status == 503
    assert b"the store is away" in reply.body


async def test_a_page_of_what_the_configuration_left_out_says_so_and_is_no_failure() -> None:
    desk = Desk()
    desk.api.refusal = errors.Rejected(errors.Prefix.UNSUPPORTED, "this relay has no members (members.enabled)")
    assert "this relay has no members (members.enabled)." in await desk.text("members")


async def test_who_hangs_up_on_a_client_comes_back_to_the_others() -> None:
    page = Outline(await Desk().text("clients/one", client="0-1"))
    assert ("value", "clients") in page.attributes


async def test_what_is_not_there_is_said_on_a_page() -> None:
    desk = Desk()
    for reply in (await desk.get("nowhere"), await desk.send("nowhere"), await desk.send("moderation")):
        assert reply.status == 404
        assert reply.content_type.startswith("text/html")
    assert (await desk.get("clients/one", client="0-2")).status == 404


async def test_numbers_and_plots_come_as_json_too() -> None:
    page, lines = await Desk().text("", span="day"), await Desk().text("now.json", span="day")
    assert "12,345" in page
    assert '"text":"12,345"' in lines
    assert '"seconds":86400.0' in lines
    assert len(lines) < 200_000


def test_each_method_of_a_form_has_words() -> None:
    assert [method for method in ACTING if web.deeds.deed(method, [ID]).startswith("Called")] == []


@pytest.mark.parametrize("name", ["{", "}", "{0}", "{5}", "{x.y}", "%s", "<b>"])
def test_a_method_without_words_is_told_by_its_name(name: str) -> None:
    assert web.deeds.deed(name, [ID]) == f"Called {name}"
    assert web.deeds.deed("denyword", [name]) == f"Refused the word “{name}” from now on"


FILTER = {"kinds": [1], "#t": ["<b>"]}
EVENT = {"pubkey": KEY, "kind": 1, "content": "<b>"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(["REQ", "a", FILTER]),
        json.dumps(["COUNT", "a", FILTER]),
        json.dumps(FILTER),
        json.dumps([FILTER]),
        f"  {json.dumps(FILTER, indent=2)}",
    ],
)
async def test_what_asks_for_events_is_explained_as_filters(text: str) -> None:
    desk = Desk()
    reply = await desk.send("why", text=text, key=f" {KEY} ", address="192.0.2.1")
    assert reply.status == 200
    assert desk.api.calls == [("explainfilters", [[FILTER], {"key": KEY}], KEY)]
    page = reply.body.decode()
    assert "What comes of this request" in page
    assert html.escape(text.strip()) in page.replace("&#34;", "&quot;"), "it can be asked again"


@pytest.mark.parametrize("text", [json.dumps(["EVENT", EVENT]), json.dumps(["EVENT", "a", EVENT]), json.dumps(EVENT)])
async def test_an_event_is_explained_as_one(text: str) -> None:
    desk = Desk()
    reply = await desk.send("why", text=text, address="192.0.2.1")
    assert desk.api.calls == [("explainevent", [EVENT, {"address": "192.0.2.1"}], KEY)]
    assert b"What comes of this event" in reply.body


@pytest.mark.parametrize("text", ["hello", "{", "7", "[]", '["REQ", "a"]', '["CLOSE", "a"]', "[1]", "[" * 60_000])
async def test_what_cannot_be_explained_is_told_what_can(text: str) -> None:
    desk = Desk()
    reply = await desk.send("why", text=text)
    assert reply.status == 200
    assert b"It must be JSON: an event, a filter" in reply.body
    assert desk.api.calls == []


@given(text=st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
async def test_anything_may_be_pasted(text: str) -> None:
    assert (await Desk().send("why", text=text)).status == 200


async def test_a_question_that_is_refused_is_told_why_beside_it() -> None:
    desk = Desk()
    desk.api.refusal = errors.invalid("parameter 2 must be an object")
    assert b"parameter 2 must be an object." in (await desk.send("why", text="{}")).body
    assert b"parameter 2 must be an object." in (await desk.get("store/find", filter="{}", kind="1")).body
    assert b"parameter 2 must be an object." in (await desk.get("why/refusals", key="x")).body


async def test_refusals_are_searched_by_what_is_filled_in() -> None:
    desk = Desk()
    await desk.text("why/refusals", key=KEY, kind="7", text=" spam ", address="")
    await desk.text("why/refusals")
    assert [params for _, params, _ in desk.api.calls] == [[{"key": KEY, "kind": 7, "text": "spam"}], []]
    assert "A kind is a number." in await desk.text("why/refusals", kind="many")


async def test_events_are_found_by_fields_or_by_a_filter() -> None:
    desk = Desk()
    await desk.text("store/find", author=nip19.npub_of(KEY), kind="1", id=ID, word="hi")
    await desk.text("store/find", filter='[{"kinds": [1]}, {}]')
    assert [params for _, params, _ in desk.api.calls] == [
        [[{"ids": [ID], "authors": [KEY], "kinds": [1], "search": "hi", "limit": 50}]],
        [[{"kinds": [1]}, {}]],
    ]
    for wrong in ({"author": "nobody"}, {"kind": "x"}, {"filter": "{"}, {"filter": "[" * 60_000}):
        assert "This cannot be read" in await desk.text("store/find", **wrong)
    assert "Author</h2>" not in await desk.text("store/find"), "nothing is asked for yet"


async def test_the_page_of_the_store_says_when_retention_runs_next_where_it_ever_does() -> None:
    told = answers()
    assert "Retention's next run" in await Desk(CannedApi(told)).text("store")
    told["storestats"]["next_retention"] = None
    assert "Retention's next run" not in await Desk(CannedApi(told)).text("store")


async def test_members_are_asked_for_until_all_are_there() -> None:
    members = [{"pubkey": f"{number:064x}", "since": 1, "by": "", "roles": []} for number in range(2_500)]

    def listed(after: str = "") -> list[Any]:
        start = next((place + 1 for place, one in enumerate(members) if one["pubkey"] == after), 0)
        return members[start : start + 1_000]

    page = await Desk(CannedApi(answers() | {"listmembers": listed})).text("members", page="25")
    assert "2,500 members" in page
    assert f"{2_499:064x}" in page
    found = await Desk(CannedApi(answers() | {"listmembers": listed})).text("members", q=f"{1_234:064x}")
    assert "1 member" in found


async def test_an_export_is_let_through_for_who_may_have_it() -> None:
    desk = Desk()
    assert (await desk.send("export.jsonl")).body == b"{}"
    assert desk.api.calls == [("exportevents", [], KEY)]
    desk.api.refusal = errors.Rejected(errors.Prefix.RESTRICTED, "not you")
    assert (await desk.send("export.jsonl")).status == 403


async def test_mirrors_are_shown_with_their_faults_and_what_became_of_events() -> None:
    page = await Desk(CannedApi(answers("wss://there.example/"))).text("mirrors")
    assert "<caption>1 mirror</caption>" in page
    assert '<th scope="row">wss://there.example/</th>' in page
    assert "taken 1,234, given 5</td>" in page
