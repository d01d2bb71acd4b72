"""Login: a token for the metadata of every call, renewed before it expires, replaced when it is refused."""

import logging
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime

import trio
from google.protobuf.message import DecodeError

from exportfs.config import ServerConfig
from exportfs.errors import AccessDenied, Corrupt, ExportfsError, Unauthenticated
from exportfs.metrics import LoginFigures
from exportfs.rpc.backoff import Backoff
from exportfs.rpc.channel import Metadata
from exportfs.rpc.renewal import Token
from exportfs.rpc.status import one_line, redact
from exportfs.rpc.unary import Bridge
from exportfs.timestamps import parse_server, to_rfc3339
from exportfs.wire import auth

log = logging.getLogger(__name__)

_SERVICE = "/axxonsoft.bl.auth.AuthenticationService/"
_Code = auth.AuthenticateResponseEx
_DEFAULT_LIFE = 300.0
EXPIRED_PAUSE = 5.0
"""Seconds between attempts to renew a login that has expired and that no call has needed since."""

# What to do, for every code of EAuthenticateCode but OK. `{user}` is the login name.
ADVICE: dict[int, str] = {
    _Code.AUTHENTICATE_CODE_GENERAL_ERROR: "the server refused the login without naming a cause; see its log",
    _Code.AUTHENTICATE_CODE_WRONG_CREDENTIALS: "wrong user name or password for {user}; check both",
    _Code.AUTHENTICATE_CODE_USER_LOCKED: "the user {user} is locked; ask the server's administrator to unlock it",
    _Code.AUTHENTICATE_CODE_IP_BLOCKED: "the server blocks this computer's address; ask its administrator",
    _Code.AUTHENTICATE_CODE_ALREADY_LOGGED: "{user} is logged in elsewhere and may be only once; log out there first",
    _Code.AUTHENTICATE_CODE_PASSWORD_INVALID: "the password of {user} is no longer valid; set a new one in the "
    "vendor's client",
    _Code.AUTHENTICATE_CODE_WRONG_SUPERVISOR_ROLE: "{user} needs a supervisor's confirmation, which the vendor's "
    "client can ask for; use another user",
    _Code.AUTHENTICATE_CODE_TIMEZONE_DENIED: "{user} may not log in at this time; ask the server's administrator",
    _Code.AUTHENTICATE_CODE_SECOND_FACTOR_AUTH_NEEDED: "{user} needs a second factor: mount from a terminal, where "
    "the code can be asked for, or use another user",
    _Code.AUTHENTICATE_CODE_TFA_WRONG_CODE: "the verification code is wrong; try again with a new one",
    _Code.AUTHENTICATE_CODE_TFA_NOT_ENABLED: "the second factor is not enabled for {user}; ask the administrator",
    _Code.AUTHENTICATE_CODE_TFA_TYPE_MISMATCH: "the server wants another kind of second factor for {user}",
    _Code.AUTHENTICATE_CODE_TFA_TYPE_UNSUPPORTED: "the server does not support this kind of second factor",
    _Code.AUTHENTICATE_CODE_TFA_ATTEMPT_LIMIT_EXCEEDED: "too many wrong verification codes; wait before you try again",
    _Code.AUTHENTICATE_CODE_TFA_TIME_EXCEEDED: "the verification code came too late; try again",
}

# Refusals that pass by themselves; all others wait for a person.
_PASSING = {_Code.AUTHENTICATE_CODE_GENERAL_ERROR, _Code.AUTHENTICATE_CODE_ALREADY_LOGGED}

AskCode = Callable[[], str]


def _sendable(answer: auth.AuthenticateResponseEx) -> bool:
    """Whether gRPC sends the token as metadata: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md."""
    name, value = answer.token_name.lower(), answer.token_value
    fits = re.fullmatch(r"[0-9a-z_.-]*", name) is not None and not name.endswith("-bin")
    return fits and value.isascii() and value.isprintable()


class Login:
    """The current token, and the one task at a time that gets a new one. Belongs to one trio run."""

    def __init__(
        self, config: ServerConfig, bridge: Bridge, *, call_timeout: float, ask_code: AskCode | None = None
    ) -> None:
        self._config = config
        self._bridge = bridge
        self._call_timeout = call_timeout
        self._ask_code = ask_code
        self._token: Token | None = None
        self._backoff = Backoff()
        self._lock = trio.Lock()
        self._refusal: AccessDenied | None = None
        self._attempts = 0
        """Fresh logins that have come to an end, one way or the other."""
        self._failure: ExportfsError | None = None
        """What the last of them ended with."""
        self._expires_at: datetime | None = None
        self._failures = 0
        """Logins and renewals that failed, for counting."""

    @property
    def needed(self) -> bool:
        return self._config.user is not None

    def metadata(self) -> Metadata:
        """Of the next call. Raises Unauthenticated where there is no token that still lives."""
        if not self.needed:
            return ()
        if self._token is None:
            raise Unauthenticated("not logged in")
        return ((self._token.name, self._token.value),)

    def status(self) -> dict[str, object]:
        """For people; holds no secret."""
        state = "none" if not self.needed else "refused" if self._refusal else "in" if self._token else "out"
        return {
            "user": self._config.user,
            "state": state,
            "expires_at": to_rfc3339(self._expires_at) if self._expires_at else None,
            "error": str(self._refusal) if self._refusal else None,
        }

    def figures(self) -> LoginFigures | None:
        """For counting; None where there is no login."""
        if not self.needed:
            return None
        token, now = self._token, trio.current_time()
        valid = token is not None and now < token.expires
        return LoginFigures(valid, None if token is None else now - token.obtained, self._failures)

    async def refresh(self, refused: Metadata) -> None:
        """A fresh login, unless the token has already changed since the refused call was made.

        Raises AccessDenied where the server refuses, or refused so lately that trying again could lock the user
        out; and what a call may raise.
        """
        if not self.needed:
            raise AccessDenied("the server wants a login; mount with --user")
        attempts = self._attempts
        async with self._lock:
            if self._token is not None and (self._token.name, self._token.value) not in refused:
                return
            if self._attempts != attempts and self._failure is not None:
                # Whoever was first has had its answer while we waited: it is ours as well.
                raise type(self._failure)(str(self._failure))
            if self._token is not None:
                log.debug("the server refused the token of %s; logging in again", self._user)
            self._token = None
            await self._log_in()

    async def start(self) -> None:
        """The first login, the only one that may ask for a second factor. Raises as `refresh` does."""
        try:
            if self.needed:
                await self.refresh(())
        finally:
            # Later nobody may be there to answer, and calls into the mount would wait for it.
            self._ask_code = None

    async def keep(self) -> None:
        """Renews the token at two thirds of its life, until cancelled."""
        while self.needed:
            token = self._token
            await trio.sleep(max(0.0, token.renew_at - trio.current_time()) if token else 1.0)
            if token is None or self._token is not token:
                continue
            try:
                await self._renew(token)
            except ExportfsError as error:
                log.warning("the login could not be renewed: %s", error)
                # What is left of the token's life allows a few more tries; after that a call will log in anew.
                left = token.expires - trio.current_time()
                await trio.sleep(max(0.5, left / 4) if left > 0 else EXPIRED_PAUSE)

    async def close(self) -> None:
        """Ends the login on the server, so that it does not count against a limit. Raises nothing."""
        token, self._token = self._token, None
        if token is not None:
            await self._end(token)

    async def _end(self, token: Token) -> None:
        try:
            request = auth.CloseSessionRequest().SerializeToString()
            metadata = ((token.name, token.value),)
            await self._bridge.call(
                _SERVICE + "CloseSession", request, metadata, min(2.0, self._call_timeout)
            )
        except ExportfsError as error:
            log.info("the login could not be closed: %s", error)

    async def _renew(self, token: Token) -> None:
        log.debug("renewing the login of %s", self._user)
        request = auth.RenewSessionRequest().SerializeToString()
        metadata = ((token.name, token.value),)
        try:
            answer = await self._call("RenewSession2", request, metadata)
        except AccessDenied as error:
            # Expired or revoked in between (a suspended laptop), or not to be renewed: only a fresh login helps.
            answer = auth.AuthenticateResponseEx(error_code=_Code.AUTHENTICATE_CODE_GENERAL_ERROR)
            log.info("the login was not renewed: %s", error)
        except ExportfsError:
            self._failures += 1
            raise
        async with self._lock:
            if self._token is not token:
                return
            if answer.error_code == _Code.AUTHENTICATE_CODE_OK and answer.token_value:
                self._accept(answer)
                return
            log.warning("the server does not renew the login: %s", self._words(answer))
            # The old token is good until it expires or is refused: it is kept until there is a better one.
            await self._log_in()
        await self._end(token)

    async def _log_in(self) -> None:
        self._failure = None
        try:
            await self._authenticate()
        except ExportfsError as error:
            self._failure = error
            self._failures += 1
            raise
        finally:
            self._attempts += 1

    async def _authenticate(self) -> None:
        wait = self._backoff.wait(trio.current_time())
        if wait > 0 and self._refusal is not None:
            raise AccessDenied(
                f"{self._refusal} (not tried again for {math.ceil(wait)} s, so as not to lock {self._user} out)"
            )
        request = auth.AuthenticateRequest(user_name=self._user, password=self._config.password or "")
        try:
            answer = await self._call("AuthenticateEx2", request.SerializeToString(), ())
            needed = answer.error_code == _Code.AUTHENTICATE_CODE_SECOND_FACTOR_AUTH_NEEDED
            if needed and self._ask_code is not None:
                answer = await self._second_factor(answer)
        except AccessDenied as error:
            # Refused by a status in place of a code: as good a reason not to knock again at once.
            self._backoff.refused(trio.current_time(), for_good=True)
            self._refusal = AccessDenied(str(error))
            raise self._refusal from None
        self._accept(answer)

    async def _second_factor(self, answer: auth.AuthenticateResponseEx) -> auth.AuthenticateResponseEx:
        assert self._ask_code is not None
        code = await trio.to_thread.run_sync(self._ask_code, abandon_on_cancel=True)
        request = auth.AuthenticateBySecondFactorRequest(
            session_id=answer.auth_second_factor_info.session_id, verification_code=code.strip()
        )
        return await self._call("AuthenticateBySecondFactor", request.SerializeToString(), ())

    async def _call(self, method: str, request: bytes, metadata: Metadata) -> auth.AuthenticateResponseEx:
        try:
            raw = await self._bridge.call(_SERVICE + method, request, metadata, self._call_timeout)
        except ExportfsError as error:
            words = redact(str(error), self._config.password or "")
            if words != str(error):
                raise type(error)(words) from None
            raise
        try:
            return auth.AuthenticateResponseEx.FromString(raw)
        except DecodeError:
            raise Corrupt("the answer to the login cannot be read") from None

    def _accept(self, answer: auth.AuthenticateResponseEx) -> None:
        """Takes the token out of an answer, or raises AccessDenied with what to do."""
        now = trio.current_time()
        if answer.error_code != _Code.AUTHENTICATE_CODE_OK:
            self._backoff.refused(now, for_good=answer.error_code not in _PASSING)
            self._refusal = AccessDenied(self._words(answer))
            raise self._refusal
        if not answer.token_value:
            raise Corrupt("the server accepted the login but gave no token")
        if not _sendable(answer):
            raise Corrupt(
                "the server gave a token that no call can carry: a header cannot have its name or its value"
            )
        self._backoff.accepted()
        self._refusal = None
        expires_at = parse_server(answer.expires_at)
        life = float(answer.expires_in)
        if life <= 0:
            life = (expires_at - datetime.now(UTC)).total_seconds() if expires_at else 0.0
        if life <= 0:
            life = _DEFAULT_LIFE  # the clocks differ, or nothing was said
        self._expires_at = expires_at
        known = self._token.name if self._token is not None else "auth_token"
        # gRPC takes lower-case keys only, and a server compares them so.
        self._token = Token((answer.token_name or known).lower(), answer.token_value, now, life)
        log.debug(
            "logged in as %s for %.0f s; to be renewed in %.0f s",
            self._user,
            life,
            self._token.renew_at - now,
        )

    def _words(self, answer: auth.AuthenticateResponseEx) -> str:
        unknown = f"the server refused the login with code {answer.error_code}"
        words = ADVICE.get(answer.error_code, unknown).format(user=self._user)
        description = answer.error_description
        if description.reached_connection_limit.value:
            words += "; the limit of connections is reached: close another client first"
        if description.incorrect_client_type.value:
            words += "; this kind of client is not allowed for this user"
        said = one_line(description.description)[:300]
        said = redact(said, self._config.password or "")
        if said:
            words += f" (the server says: {said})"
        return words

    @property
    def _user(self) -> str:
        return self._config.user or ""
