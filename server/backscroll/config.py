"""Settings, read once: flag, then `BACKSCROLL_*` environment, then `config.toml`.

What sends text off the machine (a summary endpoint) is read from the user's own environment or
config file only, never from a file in a repository. Importing pydantic-settings would take a tenth of
the server's start, for what is a merge of three mappings here.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from . import addresses, exclusions, signing, sources
from .errors import ConfigError
from .exclusions import Exclusions

APP = "backscroll"
PREFIX = "BACKSCROLL_"
# Other names by which settings may be set in the environment.
_ALIASES = {
    "session_summary_prompt": ("SUMMARY_PROMPT",),
    "enable_session_summaries": ("SUMMARY_ENABLED",),
}


def config_file() -> Path:
    """`config.toml` in the platform's config folder."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False)) / "config.toml"


def default_database() -> Path:
    """`backscroll.db` in the platform's data folder."""
    return Path(platformdirs.user_data_dir(APP, appauthor=False)) / "backscroll.db"


class Settings(BaseModel):
    """Every setting, with its default. Sizes are in bytes, durations in the unit of their name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    db: str | None = None
    user: str = "local"
    profile: Literal["recall", "full"] = "full"
    project: str | None = None
    sync: str = "off"
    exclude_projects: str = ""
    exclude_sources: str = ""
    store_media: bool = True
    store_tool_messages: bool = True
    store_history_messages: bool = False
    redact: Literal["imports", "all", "off"] = "imports"
    enable_session_summaries: bool = False
    session_summary_prompt: str | None = None
    summary_base_url: str | None = None
    summary_model: str | None = None
    summary_api_key: SecretStr | None = None
    summary_timeout_s: float = Field(60.0, gt=0)
    summary_retries: int = Field(2, ge=0, le=10)
    summary_after_messages: int = Field(20, ge=1)
    semantic: Literal["auto", "off"] = "auto"
    semantic_base_url: str | None = None
    semantic_model: str | None = None
    semantic_api_key: SecretStr | None = None
    semantic_timeout_s: float = Field(30.0, gt=0)
    synchronous: Literal["FULL", "NORMAL", "EXTRA"] = "FULL"
    busy_timeout_s: float = Field(10.0, gt=0)
    max_message_bytes: int = Field(32 << 20, ge=1)
    max_run_bytes: int = Field(128 << 20, ge=1)
    max_run_messages: int = Field(50_000, ge=1)
    max_media_bytes: int = Field(32 << 20, ge=1)
    retention_days: int | None = Field(None, ge=1, le=36_500)
    max_db_bytes: int | None = Field(None, ge=1)
    # Of a database server alone; busy_timeout_s is how long another writer is waited for there too.
    postgres_pool_size: int = Field(10, ge=1, le=1_000)
    postgres_statement_timeout_s: float = Field(30.0, gt=0)
    # Tools name the user in each call: for a back end that is trusted with all users.
    multi_user: bool = False
    # Over HTTP: whose JWTs are taken, all three or none (auth/). Without them only tokens of `backscroll token` are.
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks: str | None = None
    jwt_algorithms: str = "RS256,ES256"
    jwt_user_claim: str = Field("sub", min_length=1)
    jwt_scope_claim: str = Field("scope", min_length=1)
    jwt_leeway_s: float = Field(30.0, ge=0, le=300)
    # Over HTTP (http/). Limits that are counted count for each worker, save the rate, which is one for all.
    http_workers: int = Field(1, ge=1, le=64)
    http_metrics: int | None = Field(None, ge=0, le=65_535)
    # As clients see it, where a proxy stands before it: https://memory.example.com/mcp
    http_url: str | None = None
    http_hosts: str = ""
    http_origins: str = ""
    http_max_header_bytes: int = Field(32 << 10, ge=1024, le=1 << 20)
    # As large as the largest message, or its media in base64; a larger run is recorded in parts.
    http_max_body_bytes: int = Field(64 << 20, ge=1024)
    http_header_timeout_s: float = Field(20.0, gt=0)
    http_body_timeout_s: float = Field(60.0, gt=0)
    # More than what a summary endpoint may take with all its retries, by default.
    http_call_timeout_s: float = Field(300.0, gt=0)
    http_keep_alive_s: int = Field(75, ge=1)
    http_shutdown_s: int = Field(20, ge=1)
    http_max_requests: int = Field(512, ge=1)
    # Of each token, by all workers together; 0: as often as it likes.
    http_rate_per_minute: int = Field(3000, ge=0)
    http_rate_burst: int = Field(300, ge=1)

    @field_validator("exclude_projects", "exclude_sources", "jwt_algorithms", mode="before")
    @classmethod
    def _by_commas(cls, value: Any) -> Any:
        """A list, as TOML has them, says the same as text by commas."""
        if isinstance(value, list) and all(isinstance(one, str) and "," not in one for one in value):
            return ",".join(value)
        return value

    @field_validator("exclude_projects")
    @classmethod
    def _of_globs(cls, value: str) -> str:
        exclusions.globs(value)
        return value

    @field_validator("exclude_sources")
    @classmethod
    def _of_names(cls, value: str) -> str:
        exclusions.names(value)
        return value

    @field_validator("http_hosts", "http_origins", mode="before")
    @classmethod
    def _names_by_commas(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("http_url")
    @classmethod
    def _of_an_endpoint(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://local/")
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("must be a URL such as https://memory.example.com/mcp")
        return value

    @field_validator("max_db_bytes", "http_max_body_bytes", mode="before")
    @classmethod
    def _of_size(cls, value: Any) -> Any:
        return size_bytes(value) if isinstance(value, str) else value

    @field_validator("user")
    @classmethod
    def _named(cls, user: str) -> str:
        if not user.strip():
            raise ValueError("must name a user")
        return user

    @field_validator("sync")
    @classmethod
    def _of_known_sources(cls, sync: str) -> str:
        sources.chosen(sync)
        return sync

    @field_validator("jwt_algorithms")
    @classmethod
    def _that_prove(cls, value: str) -> str:
        signing.algorithms(value)
        return value

    @field_validator("jwks")
    @classmethod
    def _not_to_be_altered(cls, value: str | None) -> str | None:
        if value is not None:
            signing.check_place(value)
        return value

    def synced_hosts(self) -> tuple[str, ...]:
        """The hosts whose transcripts are kept up with, but for those that are excluded; none where sync is off."""
        excluded = self.exclusions()
        return tuple(host for host in sources.chosen(self.sync) if not excluded.excludes_source(host))

    def database_url(self) -> str:
        return self.db or str(default_database())

    def exclusions(self) -> Exclusions:
        """The projects and sources that stay out."""
        return _exclusions(self.exclude_projects, self.exclude_sources, str(Path.home()))

    def sends_text_to(self) -> str | None:
        """Where text leaves this machine to, if a summary endpoint is set."""
        return self.summary_base_url if self.summary_model else None

    def sends(self) -> list[tuple[str, str]]:
        """What leaves this machine, and where to: addresses without what may be a key in them."""
        told = (
            ("text of sessions, for summaries", self.sends_text_to()),
            ("text of messages and questions, for search by meaning", self.semantic_endpoint()),
        )
        return [(what, without_secrets(target)) for what, target in told if target is not None]

    def semantic_endpoint(self) -> str | None:
        """Where the text of messages and questions leaves this machine to, if an embeddings endpoint is in use."""
        return self.semantic_base_url if self.semantic == "auto" and self.semantic_model else None


@lru_cache(maxsize=8)
def _exclusions(projects: str, sources: str, home: str) -> Exclusions:
    """Parsed once: asked for with every recording. `home` is what `~` stands for."""
    return exclusions.parse(projects, sources)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)?", re.IGNORECASE)


def size_bytes(text: str) -> int:
    """A size as people write it: `500MB`, `2GB`, `1.5 GiB`, `1000000`. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r:.40} is no size; write it as 500MB or 2GB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** (" kmgt".index((found[2] or " ").lower())))


def without_secrets(url: str) -> str:
    """An address without what may be a key: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def read_config(path: Path) -> dict[str, Any]:
    """Raises ConfigError for a file that is not TOML or that names no known setting."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Mend it or move it away.") from error
    for name in content:
        if name not in Settings.model_fields:
            raise ConfigError(f"{path} sets {name!r}, which is no setting. Known: {', '.join(Settings.model_fields)}.")
    return content


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment sets. An empty value counts as not set."""
    found: dict[str, Any] = {}
    for name in Settings.model_fields:
        for variable in (name.upper(), *_ALIASES.get(name, ())):
            if environ.get(PREFIX + variable):
                found[name] = environ[PREFIX + variable]
                break
    return found


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings; `flags` that are None count as not given.

    Raises ConfigError in one line that names the setting and where it was set.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    environment = read_environment(os.environ)
    configured = read_config(config_file())
    try:
        return Settings.model_validate({**configured, **environment, **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        raise ConfigError(f"{_origin(name, given, environment)} is not valid: {_words(first['msg'])}.") from None


def _origin(name: str, given: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """A setting as the user wrote it: the flag, the variable, or the line of the config file."""
    if name in given:
        return f"--{name.replace('_', '-')}"
    return f"{PREFIX}{name.upper()}" if name in environment else f"{name} in {config_file()}"


def _words(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def effective(settings: Settings) -> dict[str, Any]:
    """The settings as they may be shown: secrets as stars."""
    shown = settings.model_dump(mode="json")
    shown["db"] = addresses.shown(settings.database_url())
    return shown
