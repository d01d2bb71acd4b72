"""Logins: passwords, second factors and tokens. Answers wrong passwords with a code, not with a status."""

import secrets
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field

import grpc

from exportfs.simulator import timestamps
from exportfs.simulator.api.refusal import Refused
from exportfs.simulator.clock import Clock
from exportfs.simulator.config import LoginConfig
from exportfs.wire import auth

_Answer = auth.AuthenticateResponseEx


@dataclass(slots=True)
class _Login:
    """One login of a user; renewal gives it more tokens."""

    user: str
    tokens: dict[str, float] = field(default_factory=dict)
    """Token and when it expires, seconds since the epoch."""


@dataclass(slots=True)
class _SecondFactor:
    user: str
    expires: float
    wrong: int = 0


@dataclass(slots=True)
class _Script:
    """An answer put in place of the true one."""

    answer: _Answer
    times: int | None


class Accounts:
    """Who is logged in. Every method may be called from any thread."""

    def __init__(self, config: LoginConfig, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._lock = threading.RLock()
        self._logins: list[_Login] = []
        self._pending: dict[str, _SecondFactor] = {}
        self._wrong: Counter[str] = Counter()
        self._scripts: list[_Script] = []

    # What a test changes or asks.

    def script(
        self, code: int, times: int | None = 1, description: str = "", reached_connection_limit: bool = False
    ) -> None:
        """The next `times` logins and renewals (None: all) are answered with `code`.

        `code`: a number of EAuthenticateCode, or one that the contract does not know.
        """
        answer = _Answer()
        answer.error_code = code  # type: ignore[assignment]  # proto3 enums are open
        if description:
            answer.error_description.description = description
        if reached_connection_limit:
            answer.error_description.reached_connection_limit.value = True
        with self._lock:
            self._scripts.append(_Script(answer, times))

    def revoke(self, token: str | None = None) -> None:
        """Makes `token` invalid at once, or every token."""
        with self._lock:
            for login in self._logins:
                if token is None:
                    login.tokens.clear()
                else:
                    login.tokens.pop(token, None)

    def logins(self, user: str | None = None) -> int:
        """Logins of `user` (None: of all) with a valid token."""
        with self._lock:
            self._forget_expired()
            return sum(user is None or login.user == user for login in self._logins)

    def valid(self, token: str | None) -> bool:
        with self._lock:
            return token is not None and self._find(token) is not None

    # What the service asks.

    def check(self, token: str | None) -> None:
        """Raises Refused with UNAUTHENTICATED unless `token` is valid or none is required."""
        if self.config.required and not self.valid(token):
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "The token is missing, unknown or expired")

    def authenticate(self, user: str, password: str) -> _Answer:
        with self._lock:
            scripted = self._scripted()
            if scripted is not None:
                return scripted
            account = self.config.accounts.get(user)
            if (
                account is not None
                and account.lock_after is not None
                and self._wrong[user] >= account.lock_after
            ):
                return self._refusal("AUTHENTICATE_CODE_USER_LOCKED", "The user is locked")
            if account is None or not secrets.compare_digest(account.password.encode(), password.encode()):
                self._wrong[user] += 1
                return self._refusal("AUTHENTICATE_CODE_WRONG_CREDENTIALS", "Wrong user name or password")
            self._wrong[user] = 0
            if account.max_logins is not None and self.logins(user) >= account.max_logins:
                answer = self._refusal("AUTHENTICATE_CODE_ALREADY_LOGGED", "Too many logins of this user")
                answer.error_description.reached_connection_limit.value = True
                return answer
            return self._log_in(user) if account.second_factor is None else self._ask_second_factor(user)

    def second_factor(self, session_id: str, code: str) -> _Answer:
        with self._lock:
            scripted = self._scripted()
            if scripted is not None:
                return scripted
            pending = self._pending.get(session_id)
            if pending is None:
                return self._refusal("AUTHENTICATE_CODE_GENERAL_ERROR", "No such login is under way")
            if pending.expires <= self._clock.now():
                del self._pending[session_id]
                return self._refusal("AUTHENTICATE_CODE_TFA_TIME_EXCEEDED", "Too late")
            if code != self.config.accounts[pending.user].second_factor:
                pending.wrong += 1
                if pending.wrong >= self.config.second_factor_attempts:
                    del self._pending[session_id]
                    return self._refusal(
                        "AUTHENTICATE_CODE_TFA_ATTEMPT_LIMIT_EXCEEDED", "Too many wrong codes"
                    )
                return self._refusal("AUTHENTICATE_CODE_TFA_WRONG_CODE", "Wrong code")
            del self._pending[session_id]
            return self._log_in(pending.user)

    def renew(self, token: str | None) -> _Answer:
        """Raises Refused with UNAUTHENTICATED unless `token` is still valid (documented)."""
        with self._lock:
            login = self._find(token or "")
            if login is None:
                raise Refused(grpc.StatusCode.UNAUTHENTICATED, "The token is missing, unknown or expired")
            scripted = self._scripted()
            if scripted is not None:
                return scripted
            if self.config.renewal_ends_old_token:
                login.tokens.clear()
            return self._issue(login)

    def close(self, token: str | None) -> None:
        """Ends the login with all its tokens. Raises Refused with UNAUTHENTICATED for an invalid token."""
        with self._lock:
            login = self._find(token or "")
            if login is None:
                raise Refused(grpc.StatusCode.UNAUTHENTICATED, "The token is missing, unknown or expired")
            self._logins.remove(login)

    # Called with the lock held.

    def _scripted(self) -> _Answer | None:
        if not self._scripts:
            return None
        script = self._scripts[0]
        if script.times is not None:
            script.times -= 1
            if script.times <= 0:
                self._scripts.pop(0)
        return script.answer

    def _refusal(self, code: str, description: str) -> _Answer:
        answer = _Answer(error_code=code)
        answer.error_description.description = description
        return answer

    def _log_in(self, user: str) -> _Answer:
        login = _Login(user)
        self._logins.append(login)
        return self._issue(login)

    def _issue(self, login: _Login) -> _Answer:
        token = secrets.token_urlsafe(32)
        expires = self._clock.now() + self.config.token_life
        login.tokens[token] = expires
        return _Answer(
            token_name=self.config.token_name,
            token_value=token,
            expires_at=timestamps.brief(expires + self.config.clock_skew),
            expires_in=int(self.config.token_life),
            is_unrestricted=True,
            user_id=str(uuid.uuid5(uuid.NAMESPACE_OID, login.user)),
        )

    def _ask_second_factor(self, user: str) -> _Answer:
        session_id = str(uuid.uuid4())
        expires = self._clock.now() + self.config.second_factor_life
        self._pending[session_id] = _SecondFactor(user, expires)
        answer = _Answer(error_code="AUTHENTICATE_CODE_SECOND_FACTOR_AUTH_NEEDED")
        answer.auth_second_factor_info.type = auth.ETFAType.GOOGLE_AUTHENTICATOR
        answer.auth_second_factor_info.session_id = session_id
        answer.auth_second_factor_info.session_expires_at = timestamps.brief(expires + self.config.clock_skew)
        return answer

    def _forget_expired(self) -> None:
        now = self._clock.now()
        for login in self._logins:
            login.tokens = {token: expires for token, expires in login.tokens.items() if expires > now}
        self._logins = [login for login in self._logins if login.tokens]

    def _find(self, token: str) -> _Login | None:
        self._forget_expired()
        return next((login for login in self._logins if token in login.tokens), None)
