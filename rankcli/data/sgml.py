"""TREC's SGML: topics (`<top>`) and documents (`<DOC>`), streamed block by block."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from rankcli.data.lines import MAX_TEXT_LINE, Row, checked_id, fail, read_lines

_TAG = re.compile(r"<[^<>]*>")
_TOPIC_FIELD = re.compile(r"<(/?\w+)\b[^<>]*>", re.IGNORECASE)
_LABEL = re.compile(r"\A\s*(?:number|topic)\s*:\s*", re.IGNORECASE)
_DOCNO = re.compile(r"<DOCNO\b[^<>]*>(.*?)</DOCNO>", re.IGNORECASE | re.DOTALL)
_HEADER = re.compile(r"<(DOCNO|DOCHDR)\b[^<>]*>.*?</\1>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<(TITLE|HEADLINE|HL)\b[^<>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TEXT = re.compile(r"<TEXT\b[^<>]*>(.*?)</TEXT>", re.IGNORECASE | re.DOTALL)


def read_topics(path: str | Path) -> Iterator[Row]:
    """The `num` and `title` of each `<top>`; end tags of the fields may be missing, as NIST leaves them out."""
    for line, block in _blocks(path, "top"):
        fields = _topic_fields(block)
        for name in ("num", "title"):
            if name not in fields:
                fail(path, line, f"the topic has no <{name}>")
        qid = checked_id(_LABEL.sub("", fields["num"], count=1).strip(), path, line, "topic number")
        yield Row(line, qid, _plain(_LABEL.sub("", fields["title"], count=1)))


def read_trec_docs(path: str | Path) -> Iterator[Row]:
    """The documents of a TREC file.

    The text is the first TITLE, HEADLINE or HL and all TEXT elements; without a TEXT element, everything but DOCNO and
    DOCHDR. Tags are removed and entities replaced.
    """
    for line, block in _blocks(path, "DOC"):
        docno = _DOCNO.search(block)
        if docno is None:
            fail(path, line, "the document has no <DOCNO>")
        docid = checked_id(docno.group(1).strip(), path, line, "document id")
        yield Row(line, docid, _document_text(block))


def _blocks(path: str | Path, tag: str) -> Iterator[tuple[int, str]]:
    """Yield the line of each `<tag>` and the text between it and `</tag>`."""
    edge = re.compile(rf"(</?{tag}\b[^<>]*>)", re.IGNORECASE)
    start, size, count = 0, 0, 0
    parts: list[str] = []
    for number, line in read_lines(path, MAX_TEXT_LINE):
        for piece in edge.split(line):
            is_edge = edge.fullmatch(piece) is not None
            if is_edge and piece.startswith("</") == (start == 0):
                fail(path, number, f"{piece} without its counterpart before it", f"each <{tag}> needs one </{tag}>")
            if is_edge and start:
                yield start, "".join(parts)
                parts, start, size = [], 0, 0
            elif is_edge:
                start, count = number, count + 1
            elif start:
                parts.append(piece)
                size += len(piece)
            elif piece and not piece.isspace():
                fail(path, number, f"text outside <{tag}>: {piece.strip()[:40]!r}")
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


def _document_text(block: str) -> str:
    bodies = _TEXT.findall(block)
    if not bodies:
        return _plain(_HEADER.sub(" ", block))
    title = _TITLE.search(_TEXT.sub(" ", block))
    return _plain(" ".join([title.group(2) if title else "", *bodies]))


def _plain(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
