"""``tidemill image``: the container image of a project."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

_Tag = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE",
        help="Name of the image (default: the project's name and its commit).",
        show_default=False,
    ),
]
_Base = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE",
        help="The platform's image, best by digest (default: tidemill of this version).",
        show_default=False,
    ),
]
_Builder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="docker, podman or buildah (default: the first there is).", show_default=False
    ),
]
_Build = Annotated[bool, typer.Option("--build/--no-build", help="Build it, or write the files alone.")]
_LeaveOut = Annotated[
    bool, typer.Option("--leave-out", help="Build although something is not committed, without it.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: tidemill image --base registry.example.com/tidemill:0.1.0 --no-build · "
        "tidemill image --tag registry.example.com/flights:1 --builder podman"
    )(image)


def image(
    tag: _Tag = None,
    base: _Base = None,
    builder: _Builder = None,
    build: _Build = True,
    leave_out: _LeaveOut = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Make the project's image for a cluster.

    Writes Containerfile and .dockerignore where the project has none, and builds the image where docker,
    podman or buildah is installed. The image has what is committed, and nothing else.
    """
    from tidemill.errors import ClusterError
    from tidemill.kubernetes.project_image import build_image, committed, find_builder, write_files
    from tidemill.project import open_folder

    folder = open_folder(project)
    chosen = find_builder(builder) if build else None
    revision = committed(folder.root, leave_out=leave_out)
    name = tag or f"{str(folder.params['project'].get('name', folder.model)).lower()}:{revision.commit[:12]}"
    written = write_files(folder.root, base)
    if build and chosen is None:
        raise ClusterError(
            "no builder of images is installed: docker, podman or buildah",
            hint=f"the files are written; build where there is one: docker build --file "
            f"{folder.root / 'Containerfile'} --tag {name} {folder.root}",
        )
    if chosen:
        build_image(folder.root, chosen, name, {"org.opencontainers.image.revision": revision.commit})

    def render(out: "Console") -> None:
        for file, new in written.items():
            out.print(f"{file:15}{'written' if new else 'is there; left as it is'}")
        if revision.left_out:
            out.print(f"not committed, and not in it: {', '.join(revision.left_out)}")
        out.print(f"built {name}" if chosen else "not built (--no-build)")

    emit(
        {
            "image": name,
            "built": bool(chosen),
            "commit": revision.commit,
            "left_out": revision.left_out,
            "written": [file for file, new in written.items() if new],
        },
        json,
        render,
    )
