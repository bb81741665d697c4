"""The headers that every answer of ours carries."""

import secrets
from collections.abc import Mapping

__all__ = ["new_nonce", "security_headers"]


def new_nonce() -> str:
    """Return a value that marks the scripts of one answer as ours."""
    return secrets.token_urlsafe(16)


def security_headers(nonce: str) -> Mapping[str, str]:
    """Return the headers: no inline script or style, nothing from another host, no frame around us.

    >>> "unsafe" in security_headers("n")["Content-Security-Policy"]
    False
    """
    policy = (
        "default-src 'none'",
        f"script-src 'nonce-{nonce}'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }
