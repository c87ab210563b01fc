"""TREC's SGML: topics (`<top>`) and documents (`<DOC>`), streamed block by block."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rankcli.data.lines import MAX_TEXT_LINE, Notes, Row, checked_id, fail, read_lines, titled
from rankcli.log import say

_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>")  # before anything else a `<` is text
_AROUND = re.compile(r"\s*(?:</?topics\b[^<>]*>|<\?xml\b[^<>]*\?>|<!(?!--)[^<>]*>|<!--.*?-->)\s*", re.IGNORECASE)
_TOPIC_FIELD = re.compile(r"<(/?[a-zA-Z]\w*)\b[^<>]*>", re.IGNORECASE)
_NUMBER = re.compile(r"""\bnumber\s*=\s*["']([^"']*)["']""", re.IGNORECASE)
_LABEL = re.compile(r"\A\s*(?:number|topic|description|narrative)\s*:\s*", re.IGNORECASE)
_OTHER_NAMES = {"title": ("query",), "desc": ("description", "question"), "narr": ("narrative",)}  # in XML
_FURTHER = {"desc", "description", "question", "narr", "narrative", "summary", "note"}
_DOCNO = re.compile(r"<DOCNO\b[^<>]*>(.*?)</DOCNO>", re.IGNORECASE | re.DOTALL)
_HEADER = re.compile(r"<(DOCNO|DOCHDR)\b[^<>]*>.*?</\1>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<(TITLE|HEADLINE|HL)\b[^<>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TEXT = re.compile(r"<TEXT\b[^<>]*>(.*?)</TEXT>", re.IGNORECASE | re.DOTALL)


def read_topics(path: str | Path, wanted: Sequence[str] = ()) -> Iterator[Row]:
    """The number and the wanted fields of each `<top>`, joined by spaces; end tags may be missing, as NIST leaves them
    out. In XML as well: the attribute `number` and the fields of each `<topic>`, which may be called otherwise.

    By default `title` is read, and what is left out is said; a topic without fields is its text.
    """
    notes, unread = Notes(path), set[str]()
    for line, opening, block in _blocks(path, "top(?:ic)?", "top"):
        fields = _topic_fields(block)
        number = _NUMBER.search(opening)
        qid = _plain(number.group(1) if number else fields.pop("num", ""))
        if not qid:
            fail(path, line, "the topic has no <num>")
        if number and not fields:  # `<topic number="1">the text</topic>`
            fields["title"] = block
        text, missing = _chosen(fields, wanted or ("title",))
        if text is None:
            there = ", ".join(key for key in fields if key[0] != "/") or "nothing else"
            fail(path, line, f"the topic has no <{missing[0]}>; it has {there}", "choose its fields with `topics`")
        for name in missing:
            notes.add(f"topics without <{name}>", line)
        unread |= fields.keys() & _FURTHER if not wanted else set()
        yield Row(line, checked_id(_LABEL.sub("", qid, count=1).strip(), path, line, "topic number"), text)
    notes.warn()
    if unread:
        say(f"{path}: of each topic the title alone is read, not {', '.join(sorted(unread))} (choose: `topics`)")


def _chosen(fields: Mapping[str, str], wanted: Sequence[str]) -> tuple[str | None, list[str]]:
    """The text of the wanted fields, None without any of them, and the names that are missing."""
    found = {name: next((key for key in (*_OTHER_NAMES.get(name, ()), name) if key in fields), None) for name in wanted}
    texts = [_plain(_LABEL.sub("", fields[key], count=1)) for key in found.values() if key]
    return " ".join(texts) if texts else None, [name for name, key in found.items() if key is None]


def read_trec_docs(path: str | Path) -> Iterator[Row]:
    """The documents of a TREC file.

    The text is the first TITLE, HEADLINE or HL and all TEXT elements; without a TEXT element, everything but DOCNO and
    DOCHDR. Tags are removed and entities replaced.
    """
    for line, _, block in _blocks(path, "DOC", "DOC"):
        docno = _DOCNO.search(block)
        if docno is None:
            fail(path, line, "the document has no <DOCNO>")
        docid = checked_id(docno.group(1).strip(), path, line, "document id")
        yield titled(line, docid, *_title_and_text(block))


def _blocks(path: str | Path, pattern: str, tag: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line of each `<tag>`, that tag, and the text between it and `</tag>`."""
    edge = re.compile(rf"(</?{pattern}\b[^<>]*>)", re.IGNORECASE)
    start, size, count, opening = 0, 0, 0, ""
    parts: list[str] = []
    for number, line in read_lines(path, MAX_TEXT_LINE):
        for piece in edge.split(line):
            is_edge = edge.fullmatch(piece) is not None
            if is_edge and piece.startswith("</") == (start == 0):
                fail(path, number, f"{piece} without its counterpart before it", f"each <{tag}> needs one </{tag}>")
            if is_edge and start:
                yield start, opening, "".join(parts)
                parts, start, size = [], 0, 0
            elif is_edge:
                start, count, opening = number, count + 1, piece
            elif start:
                parts.append(piece)
                size += len(piece)
            elif (rest := _AROUND.sub("", piece)) and not rest.isspace():
                fail(path, number, f"text outside <{tag}>: {rest.strip()[:40]!r}", f"put all text into <{tag}>")
        parts.append("\n")
        if size > MAX_TEXT_LINE:
            fail(path, start, f"the <{tag}> is longer than {MAX_TEXT_LINE:,} characters")
    if start:
        fail(path, start, f"<{tag}> is not closed: the file may be cut off")
    if not count:
        fail(path, 1, f"the file holds no <{tag}>")


def _topic_fields(block: str) -> dict[str, str]:
    """Text by tag name; the text of a tag ends at the next tag of any name."""
    tags = list(_TOPIC_FIELD.finditer(block))
    ends = [*(tag.start() for tag in tags[1:]), len(block)]
    found: dict[str, str] = {}
    for tag, end in zip(tags, ends, strict=False):
        found.setdefault(tag.group(1).lower(), block[tag.end() : end])
    return found


def _title_and_text(block: str) -> tuple[str, str]:
    bodies = _TEXT.findall(block)
    if not bodies:
        return "", _plain(_HEADER.sub(" ", block))
    title = _TITLE.search(_TEXT.sub(" ", block))
    return _plain(title.group(2)) if title else "", _plain(" ".join(bodies))


def _plain(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
