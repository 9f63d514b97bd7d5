"""Templates and files of an operator's own: what they may be, and that the documentation tells of all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from trio.testing import MockClock

from tests.support.named_relay import rules_for
from tests.support.server import open_door
from tests.support.wire import open_stream
from trio_relay import RelayInfo, WebOptions
from trio_relay.cli import main
from trio_relay.net.web import rendering

pytestmark = pytest.mark.usefixtures("inline_threads")

DOCUMENTED = Path("docs/web.md").read_text()


def own(folder: Path, **files: str) -> WebOptions:
    """Settings of who has these templates, in a folder."""
    (folder / "templates").mkdir()
    (folder / "static").mkdir()
    for name, text in files.items():
        (folder / "templates" / f"{name}.html").write_text(text)
    return WebOptions(templates=str(folder))


async def test_they_take_the_place_of_the_relays(tmp_path: Path, autojump_clock: MockClock) -> None:
    web = own(tmp_path, front='{% extends "public.html" %}{% block main %}<p>Ahoy, {{ name }}!</p>{% endblock %}')
    (tmp_path / "static" / "style.css").write_text("body { color: red }")
    (tmp_path / "static" / "own.css").write_text("p { color: blue }")
    (tmp_path / "static" / "secret.txt").write_text("secret")
    async with (
        open_door(rules=rules_for(info=RelayInfo(name="<Harbour>")), web=web) as door,
        open_stream(door) as wire,
    ):
        reply = await wire.ask(Accept="text/html")
        assert b"<p>Ahoy, &lt;Harbour&gt;!</p>" in reply.body
        assert (await wire.ask(target="/static/style.css")).body == b"body { color: red }"
        assert (await wire.ask(target="/static/own.css")).body == b"p { color: blue }"
        assert (await wire.ask(target="/static/secret.txt")).status == 404
        assert (await wire.ask(target="/static/front.js")).status == 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{% if %}", "line 1: Expected an expression, got 'end of statement block'"),
        ("{{ nothing }}", "front.html asks for 'nothing', which its page does not have"),
        ("{{ name | nothing }}", "front.html, line 1: No filter named 'nothing'."),
    ],
)
def test_a_broken_one_is_told_at_the_start_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    own(tmp_path, front=text)
    config = tmp_path / "relay.toml"
    config.write_text(f'[web]\ntemplates = "{tmp_path}"\n')
    ended = CliRunner().invoke(main, ["check-config", "--config", str(config)])
    assert (ended.exit_code, ended.output.count("\n")) == (2, 1)
    assert ended.output.startswith("trio-relay: web.templates: ")
    assert reason in ended.output


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('templates = "/nowhere"', "web.templates: /nowhere: no such folder"),
        ('icon = "/nowhere.png"', "web: /nowhere.png: No such file or directory"),
        ('banner = "/etc/passwd"', "web.banner: /etc/passwd: no png, jpg, webp, gif or svg"),
    ],
)
def test_files_that_are_not_there_are_told_at_the_start(setting: str, reason: str, tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(f"[web]\n{setting}\n")
    ended = CliRunner().invoke(main, ["check-config", "--config", str(config)])
    assert (ended.exit_code, ended.output) == (2, f"trio-relay: {reason}\n")


async def test_a_relay_with_broken_ones_does_not_start(tmp_path: Path, autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(rendering.PagesRefused), flatten_subgroups=True):
        async with open_door(web=own(tmp_path, sorry="{{")):
            pass


def test_the_documentation_has_every_template_and_every_fact() -> None:
    for name, facts in rendering.FACTS.items():
        assert f"`{name}`" in DOCUMENTED, name
        assert [fact for fact in facts if f"`{fact}`" not in DOCUMENTED] == [], name
    named = set(re.findall(r"`([a-z]+\.html)`", DOCUMENTED))
    assert named == set(rendering.FACTS), "and no other"


def test_the_relays_own_templates_ask_for_no_other_facts(tmp_path: Path) -> None:
    """As if each of them were an operator's."""
    (tmp_path / "templates").mkdir()
    shipped = Path(rendering.__file__).parent / "templates"
    for name in rendering.FACTS:
        (tmp_path / "templates" / name).write_text((shipped / name).read_text())
    rendering.Pages(tmp_path).check()


async def test_browsers_keep_files_by_their_version_and_ask_again_for_all_others() -> None:
    async with open_door(web=WebOptions()) as door, open_stream(door) as wire:
        plain = await wire.ask(target="/static/plots.js")
        assert (plain.status, plain.headers["cache-control"]) == (200, "no-cache")
        tag = plain.headers["etag"]
        named = await wire.ask(target=f"/static/plots.js?{tag[1:-1]}")
        assert (named.body, named.headers["cache-control"]) == (plain.body, "public, max-age=86400")
        again = await wire.ask(target="/static/plots.js", **{"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")
