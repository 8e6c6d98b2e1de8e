"""`outhaul service …`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from outhaul.cli.options import follow_options, output_option
from outhaul.cli.output import print_json, print_list, print_show, workspace
from outhaul.service import operations as services
from outhaul.service.endpoint import router_url
from outhaul.service.rollout import find_service
from outhaul.views import router_view, service_view

NAME = click.argument("name")


@click.group()
def service() -> None:
    """Services: create, list, show, keys, logs, score, update, delete."""


@service.command()
@NAME
@click.option(
    "--model", "models", multiple=True, required=True, metavar="N[:V]", help="A registered model; repeatable."
)
@click.option(
    "--score-script", required=True, type=click.Path(path_type=Path), help="Python file with init() and run()."
)
@click.option("--source-directory", type=click.Path(path_type=Path), help="Folder to take; the script's by default.")
@click.option("--requirements", help="Pip requirements file in that folder.")
@click.option("--conda", help="Conda YAML in that folder.")
@click.option("--replicas", metavar="N|MIN..MAX", help="A number, or a range to scale within.")
@follow_options
def create(
    name: str,
    models: tuple[str, ...],
    score_script: Path,
    source_directory: Path | None,
    replicas: str | None,
    requirements: str | None,
    conda: str | None,
    output: str,
    detach: bool,
) -> None:
    """Serve registered models with a score script; nothing is trained."""
    from outhaul.cli.following import start_and_follow
    from outhaul.cli.starting import start_rollout

    folder = source_directory or score_script.parent
    flags = {"score_script": _inside(score_script, folder), "requirements": requirements, "conda": conda}
    start_and_follow(lambda opened: start_rollout(opened, folder, name, list(models), replicas, flags), output, detach)


@service.command()
@NAME
@click.option("--model", "models", multiple=True, metavar="N[:V]", help="The models from now on; repeatable.")
@click.option("--replicas", metavar="N|MIN..MAX", help="The replicas from now on.")
@follow_options
def update(name: str, models: tuple[str, ...], replicas: str | None, output: str, detach: bool) -> None:
    """Roll out a new version of a service: other models, other replicas. What is not named stays."""
    from outhaul.cli.following import start_and_follow
    from outhaul.cli.starting import start_update

    start_and_follow(lambda opened: start_update(opened, name, list(models), replicas), output, detach)


@service.command("list")
@output_option
def list_(output: str) -> None:
    """All services."""
    opened = workspace()
    url = router_url(opened.settings.home)
    views = [service_view(found, *services.observed(opened, found), url) for found in services.list_services(opened)]
    print_list(output, views, ["name", "state", "replicas", "scoringUri"], "no service yet: `outhaul deploy PATH`")


@service.command()
@NAME
@output_option
def show(name: str, output: str) -> None:
    """One service: its state, URLs, versions, replicas, and what is wrong with it."""
    opened = workspace()
    found = find_service(opened, name)
    view = service_view(found, *services.observed(opened, found), router_url(opened.settings.home))
    routed = services.routing(opened, name)
    print_show(output, {**view, "router": router_view(routed) if routed else None})


@service.command("get-keys")
@NAME
@click.option("--primary", is_flag=True, help="Print the primary key alone, for use in other commands.")
@output_option
def get_keys(name: str, primary: bool, output: str) -> None:
    """The service's two keys; both are accepted."""
    pair = services.service_keys(workspace(), name)
    if primary:
        click.echo(pair.primary_key)
    else:
        print_show(output, {"primaryKey": pair.primary_key, "secondaryKey": pair.secondary_key})


@service.command("regen-key")
@NAME
@click.option("--key", "-k", required=True, help="`primary` or `secondary`.")
@click.option("--set", "value", help="The new key; a random one when not given.")
@output_option
def regen_key(name: str, key: str, value: str | None, output: str) -> None:
    """Replace one key. The other one stays, so that clients can move over."""
    pair = services.regenerate_key(workspace(), name, key, value)
    print_show(output, {"primaryKey": pair.primary_key, "secondaryKey": pair.secondary_key})


@service.command("get-logs")
@NAME
@click.option("--lines", "-l", default=5000, show_default=True, help="Last lines of each replica.")
@click.option("--replica", help="One replica's id only.")
@output_option
def get_logs(name: str, lines: int, replica: str | None, output: str) -> None:
    """What the replicas printed, ended ones included."""
    text = services.service_logs(workspace(), name, lines, replica)
    print_json({"logs": text}) if output == "json" else click.echo(text, nl=False)


@service.command()
@NAME
@click.option("--data", "-d", required=True, help="The request's body; `@FILE` reads a file, `-` standard input.")
@output_option
def run(name: str, data: str, output: str) -> None:
    """Send one scoring request with the service's own key and print the answer."""
    status, headers, body = services.score_service(workspace(), name, _body(data))
    if output == "json":
        print_json({"status": status, "headers": headers, "body": body.decode("utf-8", "replace")})
    else:
        click.echo(body.decode("utf-8", "replace"))
    if status >= 400:
        sys.exit(4 if status in (502, 503, 504) else 1)


@service.command()
@NAME
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output_option
def delete(name: str, yes: bool, output: str) -> None:
    """Delete a service and its keys. Models, runs and environments stay."""
    opened = workspace()
    find_service(opened, name)
    if not yes:
        click.confirm(f"Delete the service `{name}` and its keys?", abort=True, err=True)
    services.retire(opened, name)
    print_show(output, {"deleted": name})


def _inside(script: Path, folder: Path) -> str:
    if not script.resolve().is_relative_to(folder.resolve()):
        raise click.BadParameter(f"{script} is not inside {folder}", param_hint="--score-script")
    return script.resolve().relative_to(folder.resolve()).as_posix()


def _body(data: str) -> bytes:
    if data == "-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        path = Path(data[1:])
        if not path.is_file():
            raise click.BadParameter(f"there is no file {path}", param_hint="--data")
        return path.read_bytes()
    return data.encode()
