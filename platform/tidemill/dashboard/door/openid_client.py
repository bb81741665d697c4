"""Speaks OpenID Connect with a provider: where it is, where its logins begin, and what its tokens say."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from tidemill.accounts.sign_on.sign_on_providers import Provider, client_secret
from tidemill.accounts.sign_on.single_sign_on import Begun, Vouched
from tidemill.errors import LoginRefused, NotAnswering
from tidemill.state.tables import SignOnAttempt

__all__ = ["OpenIdClient"]

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Never ``none``, and nothing that a public key could be taken for a shared secret of."""
_SECONDS = 5.0
_FRESH_SECONDS = 3600.0
_LEEWAY_SECONDS = 60
_AGAIN_SECONDS = 30.0


@dataclass
class OpenIdClient:
    """Our client at one provider; what the provider declares is kept for an hour."""

    name: str
    provider: Provider
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _facts: Mapping[str, Any] | None = field(default=None, repr=False)
    _keys: Any = field(default=None, repr=False)
    _facts_at: float = 0.0
    _keys_at: float = 0.0

    def login_address(self, begun: Begun, back: str) -> str:
        """Return where the browser goes to log in.

        Raises:
            NotAnswering: the provider is away, or declares something else than it should.
        """
        address: str
        with self._client(back) as client:
            address, _ = client.create_authorization_url(
                self._declared("authorization_endpoint"),
                state=begun.state,
                nonce=begun.nonce,
                code_verifier=begun.verifier,
            )
        return address

    def logout_address(self) -> str:
        """Return where the browser goes to log out at the provider, too.

        Raises:
            NotAnswering: the provider is away, or declares no such address.
        """
        endpoint = httpx.URL(self._declared("end_session_endpoint"))
        return str(endpoint.copy_merge_params({"client_id": self.provider.client_id}))

    def vouch(self, code: str, attempt: SignOnAttempt, back: str) -> Vouched:
        """Exchange a code for a token, check it, and return whom it is about.

        Raises:
            LoginRefused: the provider refuses the code, or its token is not for us, not now, or not signed.
            NotAnswering: the provider is away.
        """
        endpoint = self._declared("token_endpoint")
        try:
            with self._client(back) as client:
                token = client.fetch_token(endpoint, code=code, code_verifier=attempt.verifier)
        except OAuthError as error:
            raise LoginRefused(
                f"{self.provider.label} refuses the login: {error.description or error.error}",
                hint="begin again; if it stays so, an admin checks client_id and the client's secret",
            ) from error
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(error) from error
        return self._vouched(self._checked(token, attempt.nonce))

    def _client(self, back: str) -> OAuth2Client:
        secret = client_secret(self.provider)
        return OAuth2Client(
            client_id=self.provider.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=" ".join(self.provider.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=_SECONDS,
            follow_redirects=False,
            trust_env=False,
        )

    def _checked(self, token: Mapping[str, Any], nonce: str) -> CodeIDToken:
        """Return the claims of an ID token whose signature, issuer, audience, time and nonce are right."""
        text = token.get("id_token")
        if not isinstance(text, str):
            raise LoginRefused(
                f"{self.provider.label} sent no ID token", hint="an admin checks that scopes have openid"
            )
        try:
            found = self._decoded(text)
            claims = CodeIDToken(
                found.claims,
                found.header,
                {
                    "iss": {"essential": True, "value": self.provider.issuer},
                    "aud": {"essential": True, "value": self.provider.client_id},
                },
                {
                    "nonce": nonce,
                    "client_id": self.provider.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(leeway=_LEEWAY_SECONDS)
        except JoseError as error:
            raise LoginRefused(
                f"the token of {self.provider.label} is not accepted: {_why(error)}", hint=_WHAT_TO_DO
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            raise LoginRefused(
                f"the token of {self.provider.label} cannot be read", hint=_WHAT_TO_DO
            ) from error
        return claims

    def _decoded(self, text: str) -> Any:
        """Return a token whose signature is right; keys that are not known yet are fetched."""
        try:
            return jwt.decode(text, self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            if time.monotonic() - self._keys_at < _AGAIN_SECONDS:
                raise
        self._keys_at = 0.0
        self._keys = None
        return jwt.decode(text, self._key_set(), algorithms=_ALGORITHMS)

    def _vouched(self, claims: Mapping[str, Any]) -> Vouched:
        if self.provider.verified_email and claims.get("email_verified") is not True:
            raise LoginRefused(
                f"{self.provider.label} has not verified your e-mail address",
                hint="verify it there, or an admin sets verified_email: false for this provider",
            )
        given = claims.get(self.provider.groups_claim, [])
        groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        name = next(
            (str(claims[one]) for one in ("preferred_username", "email", "sub") if claims.get(one)), "user"
        )
        return Vouched(
            self.provider.issuer, str(claims["sub"]), name, frozenset(str(group) for group in groups)
        )

    def _declared(self, name: str) -> str:
        value = self._discover().get(name)
        if not isinstance(value, str) or not value.startswith(
            ("https://", "http://127.0.0.1", "http://localhost")
        ):
            raise NotAnswering(
                f"{self.provider.label} declares no {name} that can be used",
                hint=f"an admin looks at {self.provider.issuer}/.well-known/openid-configuration",
            )
        return value

    def _discover(self) -> Mapping[str, Any]:
        with self._lock:
            if self._facts is None or time.monotonic() - self._facts_at > _FRESH_SECONDS:
                facts = self._get(f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
                if facts.get("issuer") != self.provider.issuer:
                    raise NotAnswering(
                        f"{self.provider.issuer} says that its name is {facts.get('issuer')!r}",
                        hint="an admin writes issuer exactly as the provider does, the last / too",
                    )
                self._facts, self._facts_at = facts, time.monotonic()
            return self._facts

    def _key_set(self) -> KeySet:
        address = self._declared("jwks_uri")
        with self._lock:
            if self._keys is None or time.monotonic() - self._keys_at > _FRESH_SECONDS:
                self._keys = KeySet.import_key_set(self._get(address))  # type: ignore[arg-type]
                self._keys_at = time.monotonic()
            found: KeySet = self._keys
            return found

    def _get(self, address: str) -> dict[str, Any]:
        try:
            answer = httpx.get(address, timeout=_SECONDS, follow_redirects=False, trust_env=False)
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise self._away(error) from error
        if not isinstance(found, dict):
            raise NotAnswering(f"{address} is not what a provider declares", hint="check the issuer")
        return found

    def _away(self, error: Exception) -> NotAnswering:
        return NotAnswering(
            f"{self.provider.label}, the provider at {self.provider.issuer}, {_said(error)}",
            hint="try again in a moment, or log in by password; an admin checks from this machine that its "
            "address answers",
        )


_WHAT_TO_DO: Final = (
    "begin again; if it stays so, an admin compares issuer and client_id with the provider's, and the clocks "
    "of both machines"
)


def _said(error: Exception) -> str:
    match error:
        case httpx.TimeoutException():
            return f"does not answer within {_SECONDS:.0f} seconds"
        case httpx.HTTPStatusError():
            return f"answers with status {error.response.status_code}"
        case ValueError():
            return "answers with something that is not JSON"
        case _:
            return "cannot be reached"


def _why(error: JoseError) -> str:
    match error:
        case ExpiredTokenError():
            return "it has expired: is this machine's clock right?"
        case ClaimError(claim="iat" | "nbf"):
            return "it is not valid yet: is this machine's clock right?"
        case ClaimError():
            return f"its {error.claim} is missing, or not the expected one"
        case _:
            return f"{error.error}"
