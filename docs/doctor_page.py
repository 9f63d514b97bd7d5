"""`docs/doctor.md`: what `trio-relay doctor` can find, from the ailments themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trio_relay.doctor.disk import WRITES
from trio_relay.doctor.examination import ailments
from trio_relay.doctor.findings import Ailment
from trio_relay.doctor.round_trip import KIND

_HEAD: Final = """\
# Doctor

{generated}

```sh
trio-relay doctor --config /etc/trio-relay/relay.toml
```

looks for what goes wrong with relays in reality, and says of each finding what it is and what to do.
It takes less than ten seconds and changes nothing. Run it as the relay's own user, or as root: others may not read its files.

While the relay runs, doctor asks it by its control line, makes a client's round trip by each address of `net.listen` and by `relay.url`, and compares both.
While it does not run, the store is looked at directly, to be read only, and the round trip is left out; doctor says so.

The last line says whether anything is wrong; so does the exit code:

| code | means |
|---|---|
| 0 | nothing is wrong, though there may be notes |
| 1 | there are warnings or faults |
| 2 | the configuration or the arguments are wrong, so that nothing else could be looked at |

A **fault** is something that does not work, or may lose events. A **warning** is something that works, but not for long, or not for everybody. A **note** is worth knowing, and nothing is wrong.

`--json` writes one object: `healthy`, and `groups`, each with its name, `facts` as texts, and `findings` with `code`, `severity`, `what` and `advice`. Codes stay as they are from version to version; texts do not.

## What it does to the relay

- A round trip is one WebSocket by each way, with a key that is made for it: a REQ for events of that key, which finds nothing, and one ephemeral event of kind {kind} (NIP-01), which is delivered and never stored. Mirrors that pass events up, and plugins, see that event as any other.
- By `relay.url`, the handshake has an address of nobody (192.0.2.77, RFC 5737) in `net.address_header`, to see whether the relay believes clients. So plugins and the log may show that address once.
- Beside the store, a file of {pages} pages is written to see how long the disk takes, and removed.
- The module of `plugins.hooks` is loaded, as `check-config` does, and nothing of it is started.
- SQLite's quick check reads the file for three seconds at most. `trio-relay check` looks at all of it, and at each event.

Locale and umask are not looked at: the relay reads and writes UTF-8 whatever the one says, and makes its files for its own user alone whatever the other says.
"""


def doctor_page(generated: str) -> str:
    """The page.

    Args:
        generated: says that it is made from the code.
    """
    return "\n".join([_HEAD.format(generated=generated, kind=KIND, pages=WRITES), *_groups()]) + "\n"


def _groups() -> Iterator[str]:
    yield "## What it can find"
    for group, known in ailments():
        yield from ("", f"### {group.capitalize()}", "", "| code | | what it means | what to do |", "|---|---|---|---|")
        yield from map(_row, known)


def _row(ailment: Ailment) -> str:
    cells = (f"`{ailment.code}`", ailment.severity, ailment.meaning, ailment.advice)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
