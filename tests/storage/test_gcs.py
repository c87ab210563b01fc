"""Properties of buckets alone: URIs, credentials, permissions, pages, generations, and objects that the user names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.storage import _gcs_client, _gcs_objects
from rankcli.storage._gcs_objects import Bucket as Objects
from rankcli.storage._gcs_objects import Meta
from rankcli.storage._retry import Policy
from rankcli.storage.gcs import GcsStorage, delete_uri, fetch_uri, list_uri, upload_uri
from rankcli.storage.open import open_storage
from tests.gcs.fixtures import Bucket

TOKEN = "ya29.planted-token-that-nobody-may-see"
ASK = """
import sys
from rankcli.errors import RankcliError
from rankcli.storage.open import open_storage
try:
    open_storage("gs://some-bucket").write_bytes("a", b"x")
except RankcliError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def test_the_kind_of_storage_is_in_the_uri(tmp_path: Path) -> None:
    assert (
        open_storage("gs://bucket/a/b/") == GcsStorage("gs://bucket/a/b")
        and open_storage("gs://bucket/").uri[-1] == "t"
    )
    assert open_storage(str(tmp_path)).uri == str(tmp_path) and "~" not in open_storage("~/caches").uri
    with pytest.raises(ConfigError, match="s3://"):
        open_storage("s3://bucket")


@pytest.mark.parametrize(
    "uri",
    [
        "gs://",
        "gs:///x",
        "gs://B/x",
        "gs://b/x",
        "gs://bucket//x",
        "gs://bucket/a/../b",
        "gs://bucket/a//b",
        "gs://bucket/.",
    ]
    + ["gs://bucket/a\nb", "gs://bucket/\u202ex", "gs://bu cket/x", "gs://bucket/\ud800", "gs://bucket/" + "x" * 1025],
)
def test_a_uri_that_is_none_is_a_usage_error(uri: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_storage(uri)
    assert refused.value.exit_code == 2 and "gs://BUCKET" in refused.value.fix


def test_a_bucket_makes_no_local_folder(gcs: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(f"{gcs.uri}/caches")
    storage.write_bytes("a/b", b"x")
    assert storage.read_bytes("a/b") == b"x" and storage.list() == ["a"]
    assert os.listdir(tmp_path) == []
    storage.fetch("a/b")
    assert os.listdir(tmp_path) == ["cache"] and os.listdir(tmp_path / "cache") == ["stage"]


def test_an_operation_takes_these_requests(gcs: Bucket, tmp_path: Path) -> None:
    storage = open_storage(gcs.uri)
    (tmp_path / "file").write_bytes(b"x")
    for operation, methods in (
        (lambda: storage.put(tmp_path / "file", "a"), ["POST"]),
        (lambda: storage.stat("a"), ["GET"]),
        (lambda: storage.fetch("a"), ["GET", "GET"]),
        (lambda: storage.fetch("a"), ["GET"]),
        (lambda: storage.read_bytes("a"), ["GET", "GET"]),
        (lambda: storage.list(), ["GET"]),
        (lambda: storage.below(), ["GET"]),
        (lambda: storage.write_bytes("a", b"x"), ["GET"]),  # it holds that already
        (lambda: storage.write_bytes("a", b"y"), ["GET", "POST"]),
        (lambda: storage.held("b"), ["GET", "GET"]),
        (lambda: storage.delete("a"), ["GET", "GET", "DELETE"]),
    ):
        gcs.proxy.calls.clear()
        operation()
        assert [call.partition(" ")[0] for call in gcs.proxy.calls] == methods


def test_objects_of_any_name_can_be_named_by_the_user(gcs: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"some topics")
    names = ["my topics (new).txt", "Größe/Übung #1?.txt", "a//b", "百%20.jsonl", "a/../b"]
    for name in names:
        upload_uri(tmp_path / "file", f"{gcs.uri}/{name}")
        assert fetch_uri(f"{gcs.uri}/{name}").read_bytes() == b"some topics"
    assert list_uri(gcs.uri) == sorted(names, key=str.encode) == list_uri(f"{gcs.uri}/")
    assert list_uri(f"{gcs.uri}/a") == ["../b", "/b"] and list_uri(f"{gcs.uri}/my") == []
    delete_uri(f"{gcs.uri}/a")
    delete_uri(f"{gcs.uri}/{names[0]}")
    delete_uri(f"{gcs.uri}/never")
    assert list_uri(gcs.uri) == sorted([names[1], names[3]], key=str.encode)


def test_an_upload_of_the_user_replaces_what_is_there(gcs: Bucket, tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        (tmp_path / "file").write_bytes(data)
        upload_uri(tmp_path / "file", f"{gcs.uri}/run.txt")
        assert fetch_uri(f"{gcs.uri}/run.txt").read_bytes() == data


def test_an_object_that_the_user_named_and_is_not_there_is_a_usage_error(gcs: Bucket, tmp_path: Path) -> None:
    for uri in (f"{gcs.uri}/never", "gs://no-such-bucket/never", gcs.uri, f"{gcs.uri}/a/"):
        with pytest.raises(ConfigError) as refused:
            fetch_uri(uri)
        assert refused.value.exit_code == 2 and refused.value.where == uri
    with pytest.raises(StorageError, match="No such file"):
        upload_uri(tmp_path / "never", f"{gcs.uri}/never")


def test_a_bucket_that_is_not_there_is_missing(gcs: Bucket) -> None:
    storage = open_storage("gs://no-such-bucket/caches")
    assert storage.stat("a") is None
    for call in (lambda: storage.write_bytes("a", b"x"), storage.list, lambda: storage.delete("a")):
        with pytest.raises(MissingError, match="there is no such bucket") as missing:
            call()
        assert missing.value.exit_code == 4 and missing.value.where == "gs://no-such-bucket"


@pytest.mark.parametrize("status", [401, 403])
def test_an_account_without_permission_is_told_what_it_needs(
    gcs: Bucket, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    said = json.dumps({"error": {"code": status, "message": "me@x.org may not\nstorage.objects.get"}})
    answer = (status, {"Content-Type": "application/json"}, said.encode())
    monkeypatch.setattr(gcs.proxy.rules, "answer", lambda call, partial: answer)
    storage = open_storage(f"{gcs.uri}/caches")
    for call in (storage.list, lambda: storage.stat("a"), lambda: storage.write_bytes("a", b"x")):
        with pytest.raises(MissingError) as missing:
            call()
        assert missing.value.exit_code == 4
        if status == 401:
            assert "gcloud auth application-default login" in missing.value.fix
        else:
            assert missing.value.what == "no permission: me@x.org may not storage.objects.get"
            assert "Storage Object User (roles/storage.objectUser)" in missing.value.fix
            assert missing.value.where.startswith(gcs.uri)


def ask(**environment: str) -> tuple[int, str]:
    """Exit code and stderr of a process that wants to write to a bucket; no network is reached."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STORAGE_", "GOOGLE_", "GCE_"))}
    nowhere = {
        "GCE_METADATA_IP": "127.0.0.1:9",
        "GCE_METADATA_HOST": "127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**kept, **nowhere, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_credentials_one_message_says_how_to_get_them(tmp_path: Path) -> None:
    code, said = ask(HOME=str(tmp_path), CLOUDSDK_CONFIG=str(tmp_path))
    assert code == 4
    assert said == (
        "no usable Google Cloud credentials\n"
        "  -> run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file\n"
    )


@pytest.mark.parametrize(
    "kind", ["authorized_user", *(pytest.param(k, marks=pytest.mark.slow) for k in ("service_account", "other", None))]
)
def test_a_token_in_a_credentials_file_is_seen_nowhere(tmp_path: Path, kind: str | None) -> None:
    key = {"type": kind, "client_id": "id", "client_secret": TOKEN, "refresh_token": TOKEN, "private_key": TOKEN}
    key |= {"client_email": "me@x.org", "token_uri": f"https://127.0.0.1:9/{TOKEN}"}
    (tmp_path / "key.json").write_text(json.dumps(key) if kind else TOKEN)
    script = "from rankcli.storage import _retry; _retry.POLICY = _retry.Policy(attempts=2, pause_s=0.01)\n" + ASK
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"), "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (4, 6), done.stderr
    assert TOKEN not in done.stderr + done.stdout and TOKEN[5:12] not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(("objects", "pages"), [(250, 36), pytest.param(2500, 358, marks=pytest.mark.slow)])
def test_a_listing_of_many_pages_is_complete_and_in_order(
    gcs: Bucket, monkeypatch: pytest.MonkeyPatch, objects: int, pages: int
) -> None:
    wanted = [f"shard-{number:05d}" for number in range(objects)]
    fill(gcs, [f"caches/a/{name}" for name in wanted] + ["caches/b", "caches/a/d/x", "caches/a/d/y"])
    monkeypatch.setattr(_gcs_objects, "PAGE", 7)
    gcs.proxy.reset()
    assert open_storage(f"{gcs.uri}/caches").list("a") == ["d", *wanted]
    assert len(gcs.proxy.calls) == pages  # ceil((objects + 1) / 7)
    monkeypatch.setattr(_gcs_objects, "PAGE", 500)
    assert list_uri(f"{gcs.uri}/caches/a") == ["d/x", "d/y", *wanted]


def test_a_directory_of_many_objects_is_deleted(gcs: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(gcs, [f"a/shard-{number}" for number in range(100)] + ["ab"])
    monkeypatch.setattr(_gcs_objects, "PAGE", 7)
    open_storage(gcs.uri).delete("a")
    assert list_uri(gcs.uri) == ["ab"]


def fill(gcs: Bucket, names: list[str]) -> None:
    """Make empty objects, without the proxy's count."""
    target = f"/upload/storage/v1/b/{gcs.uri[5:]}/o?uploadType=media&name="
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda name: gcs.proxy.rules.send("POST", target + name, {}, b""), names)
    assert {answer[0] for answer in answers} == {200}


def overwriting(monkeypatch: pytest.MonkeyPatch, gcs: Bucket, times: int) -> None:
    """After each of the next `times` looks at the object `file`, somebody overwrites it."""
    meta, left = Objects.meta, list(range(times))

    def look(self: Objects, name: str) -> Meta | None:
        found = meta(self, name)
        if left and name == "file":
            content = b"version %d" % (times - len(left) + 1)
            left.pop()
            target = f"/upload/storage/v1/b/{gcs.uri[5:]}/o?uploadType=media&name=file"
            assert gcs.proxy.rules.send("POST", target, {}, content)[0] == 200
        return found

    monkeypatch.setattr(Objects, "meta", look)


def test_an_object_overwritten_between_stat_and_read_is_read_anew(gcs: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(gcs.uri)
    storage.write_bytes("file", b"version 0")
    for read in (storage.read_bytes, lambda name: storage.fetch(name).read_bytes()):
        overwriting(monkeypatch, gcs, 2)
        assert read("file") == b"version 2"


def test_an_object_that_never_rests_is_an_error(gcs: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(gcs.uri)
    storage.write_bytes("file", b"version 0")
    overwriting(monkeypatch, gcs, 100)
    for call in (storage.read_bytes, lambda name: storage.write_bytes(name, b"mine")):
        with pytest.raises(StorageError, match="others overwrite this object"):
            call("file")


def test_a_swap_does_not_overwrite_what_was_written_after_its_look(
    gcs: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(gcs.uri)
    overwriting(monkeypatch, gcs, 1)
    assert not storage.swap("file", None, b"mine") and storage.read_bytes("file") == b"version 1"
    overwriting(monkeypatch, gcs, 1)
    assert storage.swap("file", b"version 1", b"mine")  # by the same content again
    overwriting(monkeypatch, gcs, 2)
    assert not storage.swap("file", b"mine", b"more") and storage.read_bytes("file") == b"version 2"


@pytest.mark.faults
@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_twenty_that_publish_one_manifest_make_one_generation(gcs: Bucket, rounds: int) -> None:
    storage = open_storage(gcs.uri)
    for number in range(rounds):
        for contents in ([b"%d" % n for n in range(20)], [b"same"] * 20):
            gcs.proxy.reset()
            start = threading.Barrier(20)

            def publish(
                content: bytes, name: str = f"{number}-{len(set(contents))}", start: threading.Barrier = start
            ) -> bool:
                start.wait()
                return storage.swap(name, None, content)

            with ThreadPoolExecutor(20) as pool:
                won = list(pool.map(publish, contents))
            assert Counter(won) == ({True: 1, False: 19} if len(set(contents)) == 20 else {True: 20})
            assert len(gcs.proxy.rules.written) == 1


def test_the_client_is_made_once_per_process(gcs: Bucket) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: id(_gcs_client.bucket("any").client), range(50)))
    assert len(clients) <= 2  # the first two threads may meet
    assert _gcs_client.bucket("any").client is _gcs_client.bucket("other").client


def test_nothing_of_google_is_imported_before_it_is_used() -> None:
    script = (
        "import sys; from rankcli.storage.open import open_storage; open_storage('gs://bucket/x')\n"
        "print([name for name in sys.modules if name.startswith(('google.cloud', 'google.auth', 'requests'))])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_by_default_an_operation_waits_two_minutes_at_most() -> None:
    policy = Policy()
    longest = (
        policy.answer_s + policy.deadline_s + policy.answer_s
    )  # the first failure, the deadline, one begun before it
    assert policy.attempts == 6 and longest == 120
    assert sum(policy.pause_s * 2**attempt for attempt in range(policy.attempts - 1)) == 31
