"""Runs the steps of a Containerfile by chroot, where no builder of images is: a stage is a folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Image", "add_steps", "build", "parse"]


class Stage(NamedTuple):
    name: str
    base: str
    steps: list[tuple[str, str]]
    """Instructions with their words: ``("RUN", "apt-get update")``."""


class Image(NamedTuple):
    root: Path
    environment: dict[str, str]
    user: str
    folder: str


def parse(text: str) -> list[Stage]:
    lines = re.sub(r"\\\n", "", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    found: list[Stage] = []
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(name, base, []))
        elif found:
            found[-1].steps.append((word, rest.strip()))
    return found


def build(context: Path, base: Path, text: str, work: Path) -> Image:
    """Build the last stage of ``text`` below ``work``; ``base`` is the root of ``${BASE}``."""
    built: dict[str, Image] = {}
    for stage in parse(text):
        parent = built.get(stage.base)
        root = work / stage.name
        subprocess.run(
            ["cp", "-a", "--reflink=auto", str(parent.root if parent else base), str(root)], check=True
        )
        image = Image(
            root, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, "0:0", "/"
        )
        arguments: dict[str, str] = {}
        for word, rest in stage.steps:
            image = _step(image, word, rest, arguments, context, built)
        built[stage.name] = image
    return image


def add_steps(image: Image, context: Path, text: str) -> Image:
    """Run the steps of a Containerfile whose base is this image, in the image's own folder."""
    [stage] = parse(text)
    for word, rest in stage.steps:
        image = _step(image, word, rest, {}, context, {})
    return image


def _step(
    image: Image, word: str, rest: str, arguments: dict[str, str], context: Path, built: dict[str, Image]
) -> Image:
    if word == "ARG":
        name, _, value = rest.partition("=")
        arguments[name] = value
    elif word == "ENV":
        pairs = [pair.partition("=") for pair in rest.split()]
        known = image.environment
        made = {name: re.sub(r"\$(\w+)", lambda found: known[found[1]], value) for name, _, value in pairs}
        return image._replace(environment=known | made)
    elif word == "USER":
        return image._replace(user=rest)
    elif word == "WORKDIR":
        (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return image._replace(folder=rest)
    elif word == "COPY":
        _copy(image, rest, context, built)
    elif word == "RUN":
        _run(image, rest, arguments)
    else:
        assert word in ("LABEL", "CMD"), f"{word}: not known here"
    return image


def _copy(image: Image, rest: str, context: Path, built: dict[str, Image]) -> None:
    words = rest.split()
    start, copy = context, ["cp", "-a", "--reflink=auto"]
    if words[0].startswith("--from="):
        start = built[words.pop(0).removeprefix("--from=")].root
        copy = ["cp", "-al"]  # the stage is not changed any more
    owner = words.pop(0).removeprefix("--chown=") if words[0].startswith("--chown=") else None
    *sources, target = words
    place = image.root / (Path(image.folder) / target).as_posix().lstrip("/")
    for source in (start / one.lstrip("/") for one in sources):
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run([*copy, f"{source}/.", str(place)], check=True)
        else:
            file = place / source.name if target.endswith("/") else place
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, file)
    if owner:
        subprocess.run(["chown", "-R", owner, str(place)], check=True)


def _run(image: Image, command: str, arguments: dict[str, str]) -> None:
    """As root, with this machine's names of hosts and its package index."""
    settings, mounts = index_settings()
    binds = [f"mount --bind {place} $root{place}" for place in mounts]
    for place in mounts:
        target = image.root / str(place).lstrip("/")
        if place.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    script = "\n".join(
        [
            "set -eu",
            "mount --rbind /dev $root/dev",
            "mount -t proc proc $root/proc",
            *binds,
            f'exec chroot $root /bin/sh -c "cd {image.folder} && exec /bin/sh -c \\"\\$STEP\\""',
        ]
    )
    environment = settings | arguments | image.environment
    environment |= {
        "STEP": command,
        "root": str(image.root),
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"RUN {command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def index_settings() -> tuple[dict[str, str], list[Path]]:
    """How pip is configured on this machine, as variables for pip and uv, and the files that they name."""
    asked = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    pip = dict(re.findall(r"(?m)^[\w:]*\.([\w-]+)='(.*)'$", said))
    found = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in pip.items()}
    for variable, name in {
        "UV_DEFAULT_INDEX": "index-url",
        "UV_EXTRA_INDEX_URL": "extra-index-url",
        "UV_FIND_LINKS": "find-links",
        "SSL_CERT_FILE": "cert",
    }.items():
        if name in pip:
            found[variable] = pip[name]
    found |= {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    found |= {
        name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy")
    }
    cache = Path.home() / ".cache" / "uv"
    if cache.is_dir():
        found["UV_CACHE_DIR"] = str(cache)
    text = " ".join(found.values())
    indexes = re.findall(r"file://(/[\w./-]+)/simple", text)  # which name files beside them
    named = [*indexes, *re.findall(r"(?<!/)(/[\w.-][\w./-]*)", text.replace("file://", " "))]
    places = {Path("/etc/resolv.conf"), Path("/etc/hosts")} | {
        Path(one) for one in named if Path(one).exists()
    }
    return found, sorted(places)
