"""Guided runs: atheris changes bytes so that they reach further into the relay, and `feed` says what must hold.

    python -m tests.fuzz.atheris DOOR --seconds 60

It needs atheris, of the extra `fuzz`. What it finds is written to `build/fuzz`, as is the corpus, from which the next
run goes on. See docs/fuzzing.md.
"""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["trio_relay"]):
    from tests.fuzz.doors import DOORS, feed

BUILD: Final = Path(__file__).parents[2] / "build" / "fuzz"
_MOST_BYTES: Final = 4_096
"""Of one input: more would be passed over by most doors, and slow all of them down."""
_SLOW_SECONDS: Final = 10
"""An input that takes longer counts as found."""


def main() -> None:
    """Run for a while on one door, or once on the inputs in files."""
    parser = argparse.ArgumentParser(description="Give a door of the relay bytes that reach further and further.")
    parser.add_argument("door", choices=DOORS)
    parser.add_argument("--seconds", type=int, default=60, help="how long the run takes (60)")
    parser.add_argument("files", nargs="*", type=Path, help="inputs to be tried once, instead of a run")
    chosen = parser.parse_args()
    for file in chosen.files:
        feed(chosen.door, file.read_bytes())
    if not chosen.files:
        _run(chosen.door, chosen.seconds)


def _run(door: str, seconds: int) -> None:
    corpus = BUILD / door
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in DOORS[door].seeds():
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_MOST_BYTES}",
        f"-timeout={_SLOW_SECONDS}",
        f"-artifact_prefix={BUILD}/{door}-",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], lambda data: feed(door, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
