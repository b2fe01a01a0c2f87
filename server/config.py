"""Settings: one tree of every part's own Config. Runs with none; TOML file and `COMMONGROUND_` variables change it.

`COMMONGROUND_HTTP__PORT=9000` sets `[http] port`. Variables win over the file. `commonground config` prints the result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from server.assets.catalog import Config as AssetsConfig
from server.auth import Config as AuthConfig
from server.bus.bus import Config as BusConfig
from server.generation.opened import Config as GenerationConfig
from server.ratelimit import Config as RateConfig
from server.scenes import Config as ScenesConfig
from server.tls import Config as TlsConfig
from server.workers.pool import Config as WorkersConfig


class HttpConfig(BaseModel):
    """Where the server listens; one port for pages, WHIP, REST and WebSocket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "0.0.0.0"
    port: int = Field(default=8443, ge=0, le=65535)
    """0 = any free one."""
    trust_proxy: bool = False
    """Believe X-Forwarded-For: only behind a proxy of yours that sets it."""
    pages: Path | None = None
    """Folder of the built web pages; None = those in the package."""
    close_s: float = Field(default=5.0, gt=0)
    """How long requests in flight may take to end when the server stops."""


class LimitsConfig(BaseModel):
    """Caps on what one caller may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: int = Field(default=64 << 10, gt=0)
    max_frame_bytes: int = Field(default=24 << 20, gt=0)
    """One posed frame: picture, depth and meta together."""
    max_connections: int = Field(default=1024, gt=0)
    """WebSockets, all clients together; more get 503."""
    max_connections_per_host: int = Field(default=256, gt=0)
    hello_s: float = Field(default=5.0, gt=0)
    """From connecting to the hello message."""
    linger_s: float = Field(default=60.0, gt=0)
    """How long a closed connection may take to read what was sent before it is cut."""


class EngineConfig(BaseModel):
    """Which geometry engine: a file name of mapping/engines, or `package.module` with a colon for one of yours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "auto"
    """`auto`: vggt where there is a GPU and its weights, else classical."""
    options: dict[str, Any] = {}
    """The engine's own Config."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="COMMONGROUND_", env_nested_delimiter="__", frozen=True, extra="forbid", toml_file=None
    )

    data_dir: Path = Path("var")
    """Keys, certificates, the stored scenes, assets and jobs."""
    scene: str = Field(default="main", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """The scene that is open from the start."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    http: HttpConfig = HttpConfig()
    tls: TlsConfig = TlsConfig()
    auth: AuthConfig = AuthConfig()
    bus: BusConfig = BusConfig()
    rate: RateConfig = RateConfig()
    limits: LimitsConfig = LimitsConfig()
    engine: EngineConfig = EngineConfig()
    workers: WorkersConfig = WorkersConfig(devices=("auto",))
    """`devices` is `auto`, or `cpu`, `cuda:0`, ..."""
    scenes: ScenesConfig = ScenesConfig()
    assets: AssetsConfig = AssetsConfig()
    generation: GenerationConfig = GenerationConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(path: Path | None = None, **overrides: Any) -> Settings:
    """Read settings: `overrides`, then variables, then the file (default: `commonground.toml` here, if it exists).

    Raises:
        FileNotFoundError: a file was named and does not exist.
        pydantic.ValidationError: a value does not fit; the message names it.
        tomllib.TOMLDecodeError: the file is no TOML.
    """
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"no configuration file at {path}")
    file = path or Path("commonground.toml")

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    return _FromFile(**overrides)


def to_toml(settings: Settings) -> str:
    """The effective configuration as TOML; secrets are not shown."""
    return "\n".join(_table((), _plain(settings))).lstrip("\n") + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _table(path: tuple[str, ...], values: dict[str, Any]) -> list[str]:
    """TOML has no null: what is not set is a comment."""
    lines = [f"\n[{'.'.join(path)}]"] if path else []
    for name, value in values.items():
        if value is None:
            lines.append(f"# {name} is not set")
        elif not isinstance(value, dict):
            lines.append(f"{name} = {_inline(value)}")
    for name, value in values.items():
        if isinstance(value, dict):
            lines += _table((*path, name), value)
    return lines


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_inline(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
