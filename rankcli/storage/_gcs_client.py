"""The client of Google Cloud Storage: its credentials and its errors."""

from __future__ import annotations

import functools
import http.client
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rankcli.errors import MissingError
from rankcli.storage._retry import Failure

_AGAIN = {408, 429, 500, 502, 503, 504}
_CONNECTIONS = 64
_LOG_IN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
_ROLE = "Storage Object User (roles/storage.objectUser)"
_LONGEST = 300  # characters quoted from a message of the service


class Missing(Exception):
    """An object, bucket or upload does not exist."""


class Changed(Exception):
    """An object has another generation than required."""


class Refused(Failure):
    """The service calls the request wrong; since we send right ones, it was damaged on its way."""


def bucket(name: str) -> Any:
    """The bucket `name` of this process's client; no request is sent."""
    return _client(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST")).bucket(name)


@functools.cache
def _client(process: int, emulator: str | None) -> Any:
    """One client for all threads of a process: connections do not survive a fork."""
    # Else the client requests the bucket's metadata, in another thread, for traces that nobody uses.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    # These warnings repeat our errors, or are about normal cases: no machine of Google's, a user without a project.
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"google\.auth")
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage
    from requests.adapters import HTTPAdapter

    try:
        client = storage.Client(project=None)
    except (GoogleAuthError, OSError, ValueError) as error:  # no credentials, or a bad key file
        raise no_credentials() from error
    for scheme in ("http://", "https://"):  # the client warns of threads beyond the size of its pool
        client._http.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return client


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn errors of the client into Failure (try again), Missing, Changed or an error that the user can mend.

    Of an answer's text only the service's own message is quoted, and nothing that could contain a token.
    """
    import requests
    import urllib3
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        yield
    except GoogleAPICallError as error:
        raise of_answer(error.response, uri) from error
    except requests.Timeout as error:
        raise Failure("no answer in time") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        raise Failure(f"the connection or the answer broke off ({type(error).__name__})") from error
    except ConnectionError as error:
        raise Failure(f"the connection broke off ({type(error).__name__})") from error
    except TransportError as error:
        raise Failure("no connection to the service that refreshes credentials") from error
    except GoogleAuthError as error:
        raise no_credentials() from error
    except ValueError as error:
        raise Failure("the answer is not the JSON it should be") from error


def of_answer(answer: Any, uri: str) -> Exception:
    """The error for an answer with an HTTP status of an error."""
    status = int(answer.status_code)
    if status in (404, 410):
        return Missing(uri)
    if status == 412:
        return Changed(uri)
    if status == 401:
        return no_credentials()
    if status == 403:
        fix = f"give {_account()} the role {_ROLE} on the bucket"
        return MissingError(f"no permission{_said(answer)}", where=uri, fix=fix)
    name = f"{status} {http.client.responses.get(status, '')}".strip()
    return Failure(name) if status in _AGAIN else Refused(f"{name}{_said(answer)}")


def no_credentials() -> MissingError:
    """The error for missing or refused credentials."""
    return MissingError("no usable Google Cloud credentials", fix=_LOG_IN)


def no_bucket(name: str) -> MissingError:
    """The error for a bucket that does not exist."""
    fix = f"check the name, or create it: `gcloud storage buckets create gs://{name}`"
    return MissingError("there is no such bucket", where=f"gs://{name}", fix=fix)


def _account() -> str:
    credentials = bucket("any").client._credentials
    return getattr(credentials, "service_account_email", None) or "the account that is logged in"


def _said(answer: Any) -> str:
    """The service's own message, on one line."""
    try:
        said = str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return ""
    return ": " + re.sub(r"[^ -~]+", " ", said)[:_LONGEST]
