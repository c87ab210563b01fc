"""The objects of a bucket: listed, read, written and deleted by generation, and verified when read or written.

Every request is tried a bounded number of times (`_retry`). The client's own retries are off: they would multiply
these.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, TypeVar

from rankcli.storage import _gcs_client as client
from rankcli.storage._gcs_client import Changed, Missing, explained
from rankcli.storage._gcs_meta import ABSENT, Content, Meta, content_of, meta_of
from rankcli.storage._gcs_upload import Upload
from rankcli.storage._retry import Failure, Policy, attempted

__all__ = ["ABSENT", "Bucket", "Content", "Meta", "content_of"]

Result = TypeVar("Result")

PAGE = 1000  # names in one answer


class Page(NamedTuple):
    """A part of a listing: objects by name, the prefixes of further objects, and the token of the next part."""

    objects: dict[str, Meta]
    prefixes: set[str]
    token: str | None


class Bucket(NamedTuple):
    """The objects of the bucket `name`; `policy` of retries, None for the usual one."""

    name: str
    policy: Policy | None = None

    def uri(self, name: str) -> str:
        """The URI of an object."""
        return f"gs://{self.name}/{name}"

    def meta(self, name: str) -> Meta | None:
        """The object's present generation; None if it is missing."""

        def look(answer_s: float) -> Meta:
            blob = self.blob(name)
            blob.reload(timeout=answer_s, retry=None)
            return meta_of(blob)

        try:
            return self.attempted(look, "looking for an object", name)
        except Missing:
            return None

    def download(self, name: str, meta: Meta, file: BinaryIO) -> None:
        """Write this generation's content to an empty file; Changed or Missing if it is no longer the present one."""

        def get(answer_s: float) -> None:
            start = file.seek(0, io.SEEK_END)  # continue where a broken attempt ended
            if start < meta.bytes:
                self.blob(name).download_to_file(
                    file,
                    start=start or None,
                    raw_download=True,
                    if_generation_match=meta.generation,
                    checksum=None,
                    timeout=answer_s,
                    retry=None,
                )
            if not meta.holds(content_of(file)):
                file.truncate(0)
                raise Failure("what arrived has another checksum than the object")

        self.attempted(get, "a download", name)

    def read(self, name: str, meta: Meta) -> bytes:
        """`download` into memory."""
        file = io.BytesIO()
        self.download(name, meta, file)
        return file.getvalue()

    def upload(self, name: str, content: Content, expected: int) -> Meta | None:
        """Write the object if its generation is `expected`; None if it is another one, with other content.

        It is written whole or not at all: the service first compares the data with their checksum.
        """
        try:
            return self.attempted(Upload(self, name, content, expected).attempt, "an upload", name)
        except Missing:
            raise client.no_bucket(self.name) from None
        except Changed:  # by others, or by an attempt of ours whose answer was lost
            now = self.meta(name)
            return now if now and now.holds(content) else None

    def remove(self, name: str, generation: int) -> bool:
        """Delete the object if it has this generation; False if it has another one, True if it is already gone."""

        def delete(answer_s: float) -> None:
            self.blob(name).delete(if_generation_match=generation, timeout=answer_s, retry=None)

        try:
            self.attempted(delete, "a deletion", name)
        except Missing:
            return True
        except Changed:
            return False
        return True

    def below(self, prefix: str) -> Iterator[tuple[str, Meta]]:
        """The objects whose names start with `prefix`, in the order of their names."""
        for page in self.pages(prefix):
            yield from page.objects.items()

    def pages(self, prefix: str, delimiter: str | None = None) -> Iterator[Page]:
        """The objects whose names start with `prefix`, in parts.

        With a delimiter, only objects without it in the rest of their names, and the prefixes of the others.
        """
        page = self._page(prefix, delimiter, None)
        yield page
        while page.token:
            page = self._page(prefix, delimiter, page.token)
            yield page

    def _page(self, prefix: str, delimiter: str | None, token: str | None) -> Page:
        def get(answer_s: float) -> Page:
            bucket = client.bucket(self.name)
            found = bucket.client.list_blobs(
                bucket,
                prefix=prefix,
                delimiter=delimiter,
                page_size=PAGE,
                page_token=token,
                timeout=answer_s,
                retry=None,
            )
            objects = {blob.name: meta_of(blob) for blob in next(found.pages)}
            return Page(objects, found.prefixes, found.next_page_token)

        try:
            return self.attempted(get, "a listing", prefix)
        except Missing:
            raise client.no_bucket(self.name) from None

    def blob(self, name: str) -> Any:
        """The client's handle of an object."""
        return client.bucket(self.name).blob(name)

    def attempted(self, call: Callable[[float], Result], task: str, name: str) -> Result:
        """The result of `call`, tried again after each Failure; other errors are those of `explained`."""

        def explained_call(answer_s: float) -> Result:
            with explained(self.uri(name)):
                return call(answer_s)

        return attempted(explained_call, task, self.uri(name), self.policy)
