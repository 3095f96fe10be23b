# SPDX-License-Identifier: Apache-2.0
"""HTTP basic authentication against bcrypt hashes, at the price of one hash a password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping

_REMEMBERED = 64
_MOST_WAITING = 4
_FOR_OTHERS = 2
"""Of these, how many places are only for networks from which no wrong password came lately."""
_MOST_GUESSERS = 4096
"""Networks that are remembered for a wrong password; the oldest is forgotten first."""
_OF_A_NETWORK = 4
"""Groups of an IPv6 address that one subscriber has in common (/64, RFC 6177)."""
_BCRYPT_BYTES = 72
"""bcrypt never looked further; its Python library raises beyond that from 5.0 on."""


class BusyError(Exception):
    """Tells that too many passwords wait to be compared: ask again in a second."""


class PasswordBook:
    """Compares passwords; one that was right is remembered, as bcrypt costs a core 50 ms and more.

    Remembered is a keyed digest of user, password and hash, so that a changed hash counts at once.
    Only one comparison runs at a time: strangers who guess cannot take more than one core. One of
    each peer may wait for it, and a few in all, so that guesses neither pile up nor keep others
    out; whoever is known does not wait for them. Nor does who comes from where nobody guessed: some
    of these few places are not for guessers, from however many addresses they come.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        self._one_at_a_time = threading.Lock()
        self._counting = threading.Lock()
        self._waiting: set[str] = set()
        self._guessers: dict[str, None] = {}

    def admits(self, authorization: str, users: Mapping[str, bytes], peer: str = "") -> bool:
        """Tell whether the header names one of `users`, which maps names to bcrypt hashes.

        `peer` is the address of who asks. Raises BusyError when its password must wait too long.
        """
        claim = _claim(authorization)
        if claim is None:
            return False
        user, password = claim
        if user not in users:
            # A stranger costs a comparison too, so that the time tells nobody which names exist.
            self._compare(password, next(iter(users.values()), b""), peer)
            return False
        digest = self._digest(user.encode(), password, users[user])
        if digest in self._known:
            return True
        if not self._compare(password, users[user], peer):
            return False
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add(digest)
        return True

    def _compare(self, password: bytes, stored: bytes, peer: str) -> bool:
        peer = _network_of(peer)
        with self._counting:
            guessing = sum(one in self._guessers for one in self._waiting)
            full = peer in self._guessers and guessing >= _MOST_WAITING - _FOR_OTHERS
            if full or peer in self._waiting or len(self._waiting) >= _MOST_WAITING:
                raise BusyError
            self._waiting.add(peer)
        is_right = False
        try:
            with self._one_at_a_time:
                is_right = _matches(password, stored)
        finally:
            with self._counting:
                self._waiting.discard(peer)
                self._note(peer, is_right=is_right)
        return is_right

    def _note(self, peer: str, *, is_right: bool) -> None:
        self._guessers.pop(peer, None)
        if not is_right:
            self._guessers[peer] = None
        if len(self._guessers) > _MOST_GUESSERS:
            del self._guessers[next(iter(self._guessers))]

    def _digest(self, *parts: bytes) -> bytes:
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._key, message, hashlib.sha256).digest()


def _network_of(peer: str) -> str:
    return ":".join(peer.split(":")[:_OF_A_NETWORK])


def _matches(password: bytes, stored: bytes) -> bool:
    import bcrypt

    try:
        return bool(bcrypt.checkpw(password[:_BCRYPT_BYTES], stored))
    except ValueError:
        # A NUL in the password, which no hash can stand for.
        return False


def _claim(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
        user, colon, password = decoded.partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
