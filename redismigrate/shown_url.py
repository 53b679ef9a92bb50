"""A URL as it may be shown: in messages, logs, records and files.

What is right is told by redis-py. Here a URL may be wrong in every way, and still no password is to be seen:
what is not known to be harmless is not shown.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

HIDDEN = "***"
# Options of redis-py and ours whose values are no secrets.
_HARMLESS = frozenset(
    {
        "client_name", "db", "decode_responses", "encoding", "encoding_errors", "health_check_interval",
        "lib_name", "lib_version", "max_connections", "protocol", "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive", "socket_read_size", "socket_timeout", "ssl", "ssl_ca_certs", "ssl_ca_path",
        "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile",
        "ssl_min_version",
        "ssl_validate_ocsp", "ssl_validate_ocsp_stapled", "timeout",
    }
)  # fmt: skip
_HOST = r"(?:\[[0-9A-Fa-f:.%]*\]|[^\s:/@?#\[\]]*)(?::\d*)?"
_LOCATION = re.compile(rf"{_HOST}(?:,{_HOST})*(?:/[^:@?#]*)?")
_BEGINS_A_QUERY = re.compile(r"[\w%.-]+=")
_NAME = re.compile(r"[\w%.-]+")
_OF_FILES = ("unix", "embedded")


def shown_url(url: str) -> str:
    """The URL without its password and without whatever else may be one.

    A password that should have been percent-encoded breaks the URL into wrong parts. So all between the first
    colon and the last @ counts as password, values in the query are shown only of options that are known, and
    where a colon is followed by no port, a password without its host is taken for it.

    Args:
        url: Any text that was given as a URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    location, mark, query = rest.partition("?")
    if "@" in query:
        # Of the query's value, or a password with a question mark? Where both may be, nothing of it is shown.
        if "@" in location:
            user, _, _ = location.partition(":")
            return f"{scheme}{separator}{user.partition('@')[0]}:{HIDDEN}@{HIDDEN}"
        if not (_LOCATION.fullmatch(location) and _BEGINS_A_QUERY.match(query)):
            before, _, location = rest.rpartition("@")
            location, mark, query = location.partition("?")
            return f"{scheme}{separator}{_user(before)}@{_shown(scheme, location)}{mark}{_query(query)}"
    before, at, location = location.rpartition("@")
    return f"{scheme}{separator}{_user(before)}{at}{_shown(scheme, location)}{mark}{_query(query)}"


def _user(credentials: str) -> str:
    user, colon, _ = credentials.partition(":")
    return f"{user}{colon}{HIDDEN if colon else ''}"


def _shown(scheme: str, location: str) -> str:
    """Hosts and a path; of what is none, all up to its first colon."""
    location, hash_, _ = location.partition("#")
    hidden = f"#{HIDDEN}" if hash_ else ""
    if scheme in _OF_FILES or _LOCATION.fullmatch(location) or ":" not in location:
        return location + hidden
    return f"{location.partition(':')[0]}:{HIDDEN}"


def _query(query: str) -> str:
    options, has_hidden = [], False
    for option in query.split("&"):
        name, equals, value = option.partition("=")
        # The names of options are percent-decoded, too.
        if unquote_plus(name) in _HARMLESS:
            value, hash_, _ = value.partition("#")
            options.append(f"{name}{equals}{value}{hash_}{HIDDEN if hash_ else ''}")
        elif equals and _NAME.fullmatch(name) and not has_hidden:
            options.append(f"{name}={HIDDEN}")
            has_hidden = True
        elif equals and unquote_plus(name).lower().endswith("password"):
            options.append(f"{name}={HIDDEN}")
        elif option:
            options.append(HIDDEN)  # maybe the rest of a password with an &
    return "&".join(options)
