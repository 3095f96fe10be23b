# SPDX-License-Identifier: Apache-2.0
"""An opener of urllib that follows no redirect: what proves who asks goes where it was meant to."""

from __future__ import annotations

from urllib.request import BaseHandler, HTTPRedirectHandler, OpenerDirector, build_opener


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        return None


def opener_without_redirects(*handlers: BaseHandler) -> OpenerDirector:
    """Return an opener to which a redirect is an HTTPError with its status, whoever sends it."""
    return build_opener(_NoRedirect, *handlers)
