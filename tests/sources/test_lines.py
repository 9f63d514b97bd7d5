"""Files of events as people have them: what is read, and what is said of the rest."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import struct
from collections.abc import Callable
from typing import BinaryIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB
from trio_relay import Limits, sources
from trio_relay.compressed import open_zstd_writer
from trio_relay.nostr.event import Event, decode, encode
from trio_relay.sources import BrokenFile, Line, LineBounds, event_in, read_lines

NOTE, OTHER = ALICE.event("a note"), BOB.event('é \u2028 \x00 \\ " \n 🦀', tags=[["t", "ü"], ["e"], []])
PLAIN = encode(NOTE) + b"\n" + encode(OTHER) + b"\n"
BOM = b"\xef\xbb\xbf"


def zstd(data: bytes) -> bytes:
    """The data in a frame."""
    file = io.BytesIO()
    with open_zstd_writer(file) as writer:
        writer.write(data)
    return file.getvalue()


def read(data: bytes) -> list[tuple[int, Event | str]]:
    """Each line's number, and its event or what is wrong with it."""
    return [told(line) for line in read_lines(io.BytesIO(data))]


def told(line: Line) -> tuple[int, Event | str]:
    return line.number, line.event or line.fault


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.rstrip(b"\n"),
        BOM + PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(BOM + PLAIN),
        gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:]),
        gzip.compress(PLAIN) + bytes(512),
        zstd(PLAIN),
        zstd(BOM + PLAIN[:100]) + zstd(PLAIN[100:]),
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00size" + zstd(PLAIN),
    ],
    ids=[
        "plain", "CRLF", "no last newline", "BOM", "gzip", "BOM in gzip", "gzip of two members", "padded gzip",
        "zstd", "zstd of two frames", "pzstd",
    ],
)  # fmt: skip
def test_a_file_is_read_however_it_is_written(data: bytes) -> None:
    assert read(data) == [(1, NOTE), (2, OTHER)]


def test_blank_lines_are_passed_over_and_counted() -> None:
    assert read(b"\n  \t\r\n" + encode(NOTE) + b"\n\n" + BOM + b"\n" + encode(OTHER)) == [(3, NOTE), (6, OTHER)]
    assert read(b"") == read(b"\n") == read(BOM) == read(gzip.compress(b"")) == []


def test_files_that_were_joined_keep_their_marks() -> None:
    assert read(BOM + encode(NOTE) + b"\n" + BOM + encode(OTHER)) == [(1, NOTE), (2, OTHER)]


@pytest.mark.parametrize(
    "form",
    ['["EVENT",%s]', ' [ "EVENT" , %s ] ', '["EVENT","sub",%s]', '\t["EVENT", "", %s]\r\n', '["EVENT","\\"[",%s]'],
)
def test_a_line_may_be_a_message_of_the_wire(form: str) -> None:
    assert read(form.replace("%s", encode(OTHER).decode()).encode()) == [(1, OTHER)]


NO_EVENT = "the line holds an array that is no EVENT message"
NO_JSON = "the line is no JSON that can be read"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"not JSON", NO_JSON),
        (encode(NOTE)[:-1], NO_JSON),
        (encode(NOTE) + b",", NO_JSON),
        (b"\xff" + encode(NOTE), NO_JSON),
        (b'["EVENT",' + encode(NOTE), NO_JSON),
        (b"[" * 100_000, NO_JSON),
        (b'{"tags":' + b"[" * 100_000, NO_JSON),
        (b"[]", NO_EVENT),
        (b'["EVENT"]', NO_EVENT),
        (b'["EOSE","sub"]', NO_EVENT),
        (b'["EVENT",1,' + encode(NOTE) + b"]", NO_EVENT),
        (b'["EVENT","a","b",' + encode(NOTE) + b"]", NO_EVENT),
        (b"[" + encode(NOTE) + b"]", NO_EVENT),
        (b"1", "the line holds no event, which is a JSON object"),
        (b'"text"', "the line holds no event, which is a JSON object"),
        (b'["EVENT","text"]', "the line holds no event, which is a JSON object"),
        (b"{}", "id is missing"),
        (b'["EVENT","sub",{}]', "id is missing"),
        (encode(NOTE).replace(b'"kind":1', b'"kind":"1"'), "kind must be an integer between 0 and 65535"),
        (encode(NOTE).replace(b'"kind":1', b'"kind":65536'), "kind must be between 0 and 65535"),
        (encode(NOTE).replace(b'"id":"', b'"id":"G'), "id must be 64 lowercase hex characters"),
    ],
    ids=range(21),
)
def test_what_is_wrong_is_said_in_words_about_the_line(line: bytes, fault: str) -> None:
    assert event_in(line) == fault
    assert read(encode(NOTE) + b"\n" + line + b"\n" + encode(OTHER)) == [(1, NOTE), (2, fault), (3, OTHER)]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    try:
        lines = read(data)
    except BrokenFile:
        return
    assert len(lines) == sum(bool(line.strip().removeprefix(BOM)) for line in data.split(b"\n"))


def bounds(most: int) -> LineBounds:
    return LineBounds.of(Limits())._replace(most_bytes=most)


def test_how_long_a_line_may_be_follows_from_the_limits() -> None:
    lengths = {2**10: 2**24, 2**20: 2**24, 2**22: 2**25, 2**25: 2**28, 2**28: 2**28}
    for length, most in lengths.items():
        assert LineBounds.of(Limits(max_message_length=length)).most_bytes == most


@pytest.mark.parametrize(
    "line",
    [
        b"[%s]" % b",".join([b"[]"] * 90_000),
        b'{"id":[%s]}' % b",".join([b"[]"] * 90_000),
        b'["EVENT",{"tags":[%s]}]' % b",".join([b'["t"]'] * 90_000),
        encode(ALICE.event(tags=[["t", "x"]] * 30_000)),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
def test_a_line_that_would_become_many_objects_is_not_decoded(
    line: bytes, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def noted(text: bytes) -> Event:
        decoded.append(len(text))
        return decode(text)

    monkeypatch.setattr(sources.lines, "decode", noted)
    (number, fault), other = read(pack(line + b"\n" + encode(NOTE)))
    assert (number, other) == (1, (2, NOTE))
    assert str(fault).endswith("(max_event_tags)")
    assert decoded == [len(encode(NOTE))]


def test_a_backup_may_have_as_many_tags_as_there_was_room_for_in_a_message() -> None:
    event = ALICE.event(tags=[["t"]] * 100_000)
    for limits in (Limits(), Limits(max_event_tags=10, max_message_length=1024)):
        assert event_in(encode(event), LineBounds.of(limits, is_backup=True).held) == event
    assert event_in(encode(event)) == "more than 60000 items in the tags of a long event (max_event_tags)"


def test_an_event_as_large_as_the_limits_allow_is_read() -> None:
    event = ALICE.event('\\"[{,:' * 30_000, tags=[["p", BOB.pubkey, "wss://relay.example.com", "[name]"]] * 9_000)
    fried = encode(event)[:-1] + b',"fried":"' + encode(event).hex().encode() + b'"}'
    for line in (encode(event), fried, b'["EVENT","x",%s]' % encode(event)):
        assert read(line) == [(1, event)]


def test_a_line_that_is_too_long_is_passed_over_in_bounded_memory() -> None:
    long = b'{"id":"' + b"x" * 600_000 + b"\n"
    data = encode(NOTE) + b"\n" + long + encode(OTHER) + b"\n" + long.rstrip()
    lines = list(read_lines(io.BytesIO(data), bounds=bounds(1_000)))
    fault = "the line is longer than 1000 bytes"
    assert list(map(told, lines)) == [(1, NOTE), (2, fault), (3, OTHER), (4, fault)]
    assert [line.size for line in lines] == [len(encode(NOTE)) + 1, len(long), len(encode(OTHER)) + 1, len(long) - 1]


def test_the_longest_line_is_not_too_long() -> None:
    line = encode(NOTE)
    for end in (b"", b"\n"):
        assert [told(one) for one in read_lines(io.BytesIO(line + end), bounds=bounds(len(line)))] == [(1, NOTE)]
    assert next(read_lines(io.BytesIO(line), bounds=bounds(len(line) - 1))).event is None


MANY = b"".join(encode(ALICE.event(f"{n} {random.Random(n).random()}")) + b"\n" for n in range(300))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 64]) + data[middle + 64 :]


@pytest.mark.parametrize(
    ("pack", "spoil", "why"),
    [
        (gzip.compress, lambda data: data[:-9], "the gzip data end too early, so a part is missing"),
        (gzip.compress, lambda data: data[: len(data) // 2], "the gzip data end too early, so a part is missing"),
        (gzip.compress, lambda data: data[:-8] + bytes(8), "the gzip data are damaged"),
        (gzip.compress, _flipped, "the gzip data are damaged"),
        (gzip.compress, lambda data: data + b"more", "the gzip data are damaged"),
        (gzip.compress, lambda data: data[:2] + b"\x00" + data[3:], "the gzip data are damaged"),
        (zstd, lambda data: data[:-5], "the zstd data end too early, so a part is missing"),
        (zstd, lambda data: data[: len(data) // 2], "the zstd data end too early, so a part is missing"),
        (zstd, lambda data: data[:-4] + bytes(4), "the zstd data are damaged"),
        (zstd, _flipped, "the zstd data are damaged"),
        (zstd, lambda data: data + b"more", "the zstd data are damaged"),
    ],
    ids=[
        "no checksum", "half", "another checksum", "flipped bits", "something behind", "unknown method",
        "zstd, no checksum", "zstd, half", "zstd, another checksum", "zstd, flipped bits", "zstd, something behind",
    ],
)  # fmt: skip
def test_a_file_that_breaks_off_gives_what_was_there_and_says_where(
    pack: Callable[[bytes], bytes], spoil: Callable[[bytes], bytes], why: str
) -> None:
    lines = read_lines(io.BytesIO(spoil(pack(MANY))))
    given: list[Line] = []
    with pytest.raises(BrokenFile) as broken:
        given.extend(lines)
    whole = [line.event for line in given if line.event is not None]
    assert [encode(event) for event in whole] == MANY.splitlines()[: len(whole)]
    last = given[-1].number if given else 0
    assert str(broken.value) == f"after line {last}: {why}"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lzma.compress(PLAIN), "the file is compressed by xz; decompress it first, as by xzcat"),
        (bz2.compress(PLAIN), "the file is compressed by bzip2; decompress it first, as by bzcat"),
        (b"PK\x03\x04" + PLAIN, "the file is a ZIP archive; unpack it first"),
        (PLAIN.decode().encode("utf-16"), "the file is UTF-16; convert it to UTF-8 first, as by iconv"),
        (b"\xfe\xff" + PLAIN, "the file is UTF-16; convert it to UTF-8 first, as by iconv"),
    ],
)
def test_a_file_of_another_form_is_named_once_and_not_line_by_line(data: bytes, why: str) -> None:
    with pytest.raises(BrokenFile) as broken:
        read(data)
    assert str(broken.value) == why


def test_a_file_that_cannot_be_read_says_why() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(BrokenFile, match="after line 0: cannot read: Input/output error"):
        list(read_lines(Failing()))


@pytest.mark.parametrize("data", [PLAIN, gzip.compress(MANY), zstd(MANY), b"", b"\n", b"{"])
def test_progress_adds_up_to_the_bytes_of_the_file(data: bytes) -> None:
    counted: list[int] = []
    list(read_lines(io.BytesIO(data), counted.append))
    assert sum(counted) == len(data)


def test_a_line_of_a_pipe_is_given_before_the_next_is_there() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as file, open(writer, "wb", buffering=0) as other_end:
        lines = read_lines(file)
        for event in (NOTE, OTHER):
            other_end.write(encode(event) + b"\n")
            assert next(lines).event == event


def test_what_a_json_library_writes_is_read() -> None:
    dumped = json.dumps(msgspec.to_builtins(OTHER), indent=None, sort_keys=True).encode()
    file: BinaryIO = io.BytesIO(dumped)
    assert [line.event for line in read_lines(file)] == [OTHER]


def fried(event: Event, packed: bytes | None = None) -> bytes:
    """A line of `strfry export --fried`: behind the event's own members the record that strfry's index is made of."""
    if packed is None:
        tags = [(tag[0], tag[1].encode()) for tag in event.tags if len(tag) > 1 and len(tag[0]) == 1]
        numbers = struct.pack("<QQQ", event.created_at, event.kind, 0)
        packed = bytes.fromhex(event.id + event.pubkey) + numbers
        packed += b"".join(name.encode() + bytes([len(value)]) + value for name, value in tags)
    return encode(event)[:-1] + b',"fried":"%b"}' % packed.hex().encode()


def test_what_strfry_exports_is_read_and_what_it_made_of_an_event_is_not_believed() -> None:
    lying = fried(NOTE, bytes.fromhex(OTHER.id + OTHER.pubkey) + bytes(24))
    lines = [encode(NOTE), fried(NOTE), fried(OTHER), lying, encode(NOTE)[:-1] + b',"fried":{"id":1}}']
    assert read(b"\n".join(lines)) == list(enumerate([NOTE, NOTE, OTHER, NOTE, NOTE], 1))


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":%d,"id":"%b","pubkey":"%b","created_at":%d,"tags":[],"content":"a note","sig":"%b"}',
        b'["EVENT","1",{"kind":%d,"id":"%b","pubkey":"%b","created_at":%d,"tags":[],"content":"a note","sig":"%b"}]',
    ],
    ids=["nak req", "a message"],
)
def test_what_clients_write_in_another_order_is_read(line: bytes) -> None:
    """`nak req` and `nak event` put the kind first."""
    fields = NOTE.kind, NOTE.id.encode(), NOTE.pubkey.encode(), NOTE.created_at, NOTE.sig.encode()
    assert read(line % fields) == [(1, NOTE)]
