"""The command `commonground`: serve, replay, export, token, marker, doctor, config, providers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

app = typer.Typer(
    help="One live, metric, walkable map from the cameras of a crowd.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
providers = typer.Typer(help="Who makes 3D assets.", no_args_is_help=True)
app.add_typer(providers, name="providers")
console = Console(highlight=False)
problems = Console(stderr=True, highlight=False)
if TYPE_CHECKING:
    from server.config import Settings
    from server.doctor import Finding

T = TypeVar("T")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file; else ./commonground.toml, if there is one.")
]
DataDir = Annotated[Path | None, typer.Option(help="Where keys, certificates and scenes are kept.")]
SceneOption = Annotated[str | None, typer.Option(help="Name of the scene.")]


@app.command()
def serve(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    scene: SceneOption = None,
    devices: Annotated[
        str | None, typer.Option(help="What computes: auto, cpu, or GPUs by number (0,1); one worker process each.")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Let anybody on the network in without a token.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Let two simulated phones walk through a synthetic flat.")
    ] = False,
    phones: Annotated[int, typer.Option(help="With --demo: how many phones.", min=1, max=8)] = 2,
) -> None:
    """Run the server: open the page it prints, scan the code with phones."""
    from server import run

    settings = _settings(config, data_dir=data_dir, scene=scene, http=_set(host=host, port=port))
    if devices is not None:
        from server.devices import named

        with _mendable():
            chosen = named(devices)
        settings = settings.model_copy(update={"workers": settings.workers.model_copy(update={"devices": chosen})})
    if anonymous:
        settings = settings.model_copy(update={"auth": settings.auth.model_copy(update={"anonymous": True})})
    _go(run.serve(settings, console, num_demo_phones=phones if demo else 0))


@app.command()
def replay(
    sources: Annotated[list[str], typer.Argument(metavar="VIDEO_OR_FOLDER...", help="Each one plays as a phone.")],
    realtime: Annotated[
        bool, typer.Option("--realtime/--fast", help="At its own speed, or as fast as every frame can be used.")
    ] = False,
    k: Annotated[
        str | None,
        typer.Option(
            "--k",
            metavar="fx,fy,cx,cy",
            help="Intrinsics in pixels of the recorded size, where no camera.json tells.",
        ),
    ] = None,
    posed: Annotated[bool, typer.Option("--posed", help="Use poses and depth that the folder brings.")] = False,
    scene: SceneOption = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    show: Annotated[bool, typer.Option("--serve", help="Serve the growing map while it plays.")] = False,
) -> None:
    """Play recordings into a map as if they were phones, and say what came of it."""
    from server import run

    settings = _settings(config, data_dir=data_dir, scene=scene)
    camera = _numbers(k)
    summary = _go(
        run.replay(settings, console, sources, is_realtime=realtime, k=camera, is_posed=posed, is_served=show)
    )
    if any(source.failure for source in summary.sources):
        raise typer.Exit(1)


@app.command()
def export(
    scene: Annotated[str, typer.Argument(help="Name of the scene.")],
    out: Annotated[Path, typer.Argument(help="File to write; its suffix says how.")],
    what: Annotated[
        Literal["map", "navmesh"] | None,
        typer.Option(help="The map (.ply, .glb, .obj), or only what is walkable (.bin for Detour, .glb, .obj)."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Of the NavMesh: who walks, if there are several.")] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Write a scene to a file, while the server runs or not.

    Every format holds the same surface: PLY nothing else, OBJ and GLB the NavMesh beside it, GLB the cameras, too.
    """
    from server import exporting

    settings = _settings(config, data_dir=data_dir)
    with _mendable():
        if what == "navmesh" or (what is None and out.suffix == ".bin"):
            exporting.export_navmesh(settings, scene, out, agent)
        else:
            exporting.export(settings, scene, out)
    console.print(f"{out}: {out.stat().st_size / 1e3:,.0f} kB")


@app.command()
def token(
    role: Annotated[Literal["subscribe", "publish", "admin"], typer.Option(help="What it allows.")] = "publish",
    scene: SceneOption = None,
    all_scenes: Annotated[bool, typer.Option("--all-scenes", help="For every scene of this server.")] = False,
    hours: Annotated[float, typer.Option(help="How long it holds.", min=0.01)] = 24.0,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", help="Only these layers; give it once for each.")
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Print a token for clients that are not on this machine: for one scene (main, if none is named) or for all."""
    from server.auth import ANY_SCENE, Grant, Role, Tokens, load_secret
    from server.protocol import LAYERS

    if scene is not None and all_scenes:
        raise typer.BadParameter("--scene and --all-scenes exclude each other")
    if scene == ANY_SCENE:
        raise typer.BadParameter("say --all-scenes for a token that covers every scene")
    settings = _settings(config, data_dir=data_dir, scene=scene)
    wanted = frozenset(layer for layer in LAYERS if not layers or layer in layers)
    if unknown := set(layers or ()) - set(LAYERS):
        raise typer.BadParameter(f"no layer {', '.join(sorted(unknown))}; there are {', '.join(LAYERS)}")
    tokens = Tokens(load_secret(settings.auth, settings.data_dir / "secret"))
    covered = ANY_SCENE if all_scenes else settings.scene
    typer.echo(tokens.issue(Grant(covered, Role[role.upper()], wanted), round(hours * 3600), int(time.time())))


@app.command()
def marker(
    out: Annotated[Path, typer.Argument(help="File to write: .svg, or .png at 300 dpi.")] = Path("marker.svg"),
    number: Annotated[int, typer.Option("--id", help="Which one; for each place of a scene another.", min=0)] = 0,
    size_m: Annotated[
        float | None, typer.Option(help="Edge of the black square in metres; else as configured, 0.16.", min=0.01)
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Write a marker to print on A4: it gives the map metres, and brings several phones into one map."""
    from server.marker_page import MarkerPage

    known = _settings(config).scenes.each.map.map.marker
    printed = known.model_copy(update={"size_m": known.size_m if size_m is None else size_m})
    with _mendable():
        MarkerPage(number, printed).write(out)
    console.print(f"{out}: {known.dictionary}, id {number}, {printed.size_m * 100:g} cm; print it at 100 %")
    table = "[scenes.each.map.map.marker]"
    if printed.size_m != known.size_m:
        console.print(
            f"set `size_m = {printed.size_m:g}` in {escape(table)}: the server takes markers to be "
            f"{known.size_m * 100:g} cm",
            soft_wrap=True,
        )
    if not known.search or (known.ids and number not in known.ids):
        console.print(
            f"the server does not look for this one: see `search` and `ids` in {escape(table)}", soft_wrap=True
        )


@app.command()
def doctor(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Check TLS, ports, UDP, GPU, weights, Recast and pages; each line is OK or says what to do."""
    from server import doctor as checks

    settings = _settings(config, data_dir=data_dir)
    is_well = True
    for finding in checks.examine(settings):
        is_well &= finding.is_ok
        _tell(finding)
    raise typer.Exit(0 if is_well else 1)


@providers.command("list")
def list_providers(config: ConfigFile = None) -> None:
    """Who makes assets here, out of what, under which terms, and what is missing for it."""
    from server.generation.registry import Registry

    for known in Registry(_settings(config).generation.registry).all():
        about = known.description
        terms = about.licence.spdx if about.licence.commercial else f"{about.licence.spdx}, not commercial"
        needs = f"{about.vram_gb:g} GB of VRAM" if about.vram_gb else "no GPU"
        mark = "[green]ready  [/]" if known.missing is None else "[yellow]missing[/]"
        makes = f"{', '.join(about.inputs)} -> {', '.join(about.outputs)}"
        console.print(f"{mark} [bold]{about.name:<10}[/] {makes}; {needs}; {terms}", soft_wrap=True)
        if known.missing:
            console.print(f"        {escape(known.missing)}", soft_wrap=True)


@providers.command("install")
def install_provider(
    name: Annotated[str, typer.Argument(help="As `providers list` calls it.")], config: ConfigFile = None
) -> None:
    """Make a provider's own environment and fill it from PyPI; what remains is named, with the command for it."""
    from server.generation.install import install
    from server.generation.registry import Registry

    registry = _settings(config).generation.registry
    is_well = True
    with _mendable():
        try:
            known = Registry(registry).get(name)
        except LookupError as error:
            raise ValueError(str(error)) from error
        for finding in install(known, registry.environments / name):
            is_well &= finding.is_ok
            _tell(finding)
    raise typer.Exit(0 if is_well else 1)


@providers.command("doctor")
def examine_provider(
    name: Annotated[str, typer.Argument(help="As `providers list` calls it.")],
    device: Annotated[str, typer.Option(help="cpu, cuda:0, ...")] = "cpu",
    config: ConfigFile = None,
) -> None:
    """Start a provider and load it; each line is OK or says what to do."""
    from server.generation import doctor as checks

    settings = _settings(config)

    async def examine() -> bool:
        is_well = True
        async for finding in checks.examine(settings.generation, name, device):
            is_well &= finding.is_ok
            _tell(finding)
        return is_well

    raise typer.Exit(0 if _go(examine()) else 1)


@app.command("config")
def show_config(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Print the effective configuration as TOML; secrets are not shown."""
    from server.config import to_toml

    typer.echo(to_toml(_settings(config, data_dir=data_dir)), nl=False)


def main() -> None:
    """Entry point; errors that a user can mend are one line, not a traceback."""
    app()


def _tell(finding: Finding) -> None:
    mark = "[green]OK  [/]" if finding.is_ok else "[red]FAIL[/]"
    console.print(f"{mark} [bold]{finding.subject:<9}[/] {escape(finding.detail)}", soft_wrap=True)


def _settings(path: Path | None, **overrides: Any) -> Settings:
    from server.config import load

    with _mendable():
        return load(path, **_set(**overrides))


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}


def _plain(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return str(error)


def _go(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, on uvloop where there is one."""
    with _mendable(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


@contextlib.contextmanager
def _mendable() -> Iterator[None]:
    """What the user can mend becomes one line instead of a traceback."""
    from server.workers.pool import EngineFailed, WorkerDied

    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (OSError, ValueError, EngineFailed, WorkerDied) as error:
        problems.print(f"[red]commonground:[/] {escape(_plain(error))}", soft_wrap=True)
        raise SystemExit(1) from None


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _numbers(k: str | None) -> tuple[float, float, float, float] | None:
    if k is None:
        return None
    try:
        fx, fy, cx, cy = (float(part) for part in k.split(","))
    except ValueError:
        raise typer.BadParameter("--k is four numbers: fx,fy,cx,cy") from None
    if not all(math.isfinite(value) and 0 < value < 1e5 for value in (fx, fy, cx, cy)):
        raise typer.BadParameter("--k: focal lengths and centre are pixels, above zero")
    return fx, fy, cx, cy


if __name__ == "__main__":
    main()
