"""A container's command in the root of an image: as its user, where only volumes and /tmp can be written."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helm.conftest import ROOT
from tests.helm.containerfile import Image

__all__ = ["can_be_made", "image_of_this_machine", "start"]

# The shell stays, as the first process of the namespace: setpriv would cut what ends it together with ours.
SCRIPT = """
set -eu
show() {
    mount --bind "$1" "$image$1"
    mount -o remount,bind,ro "$image$1"
}
mount --bind "$image" "$image"
for place in $places; do show "$place"; done
mount --rbind /dev "$image/dev"
mount -t tmpfs -o mode=1777 tmpfs "$image/dev/shm"
mount -t proc proc "$image/proc"
mount --bind /etc/hosts "$image/etc/hosts"
for volume in $volumes; do mount --bind "${volume#*=}" "$image${volume%%=*}"; done
for place in $within; do show "$place"; done
mount -o remount,bind,ro "$image"
chroot "$image" /usr/bin/setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all /usr/bin/env -i -C "$start" "$@" &
wait $!
"""
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


@functools.cache
def can_be_made() -> bool:
    """Return whether this machine lets us mount, and be another user."""
    if os.geteuid() != 0 or shutil.which(APART[0]) is None:
        return False
    return (
        subprocess.run([*APART, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
    )


def image_of_this_machine(folder: Path, volumes: Sequence[str]) -> tuple[Image, list[Path]]:
    """Return an image with this machine's programs and this repository, and what must be mounted there."""
    mounted = {Path("/usr"), Path("/etc"), ROOT, Path(sys.base_prefix), Path(sys.prefix)}
    for name in ("bin", "sbin", "lib", "lib64"):
        if (link := Path("/", name)).is_symlink():
            (folder / name).symlink_to(link.readlink())
        elif link.exists():
            mounted.add(link)
    for place in (*mounted, *volumes, "/dev", "/proc"):
        (folder / str(place).lstrip("/")).mkdir(parents=True, exist_ok=True)
    path = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    return Image(folder, {"PATH": path, "LANG": "C.UTF-8"}, "10001:10001", "/"), sorted(mounted)


def start(
    image: Image,
    volumes: Mapping[str, Path],
    environment: Mapping[str, str],
    command: Sequence[str],
    places: Sequence[Path] = (),
) -> "subprocess.Popen[str]":
    """Start a command; each volume of the container is a folder here; ``places`` are mounted read-only.

    Ended with the process that is returned are all that it started: they have a PID namespace of their own.
    """
    uid, _, gid = image.user.partition(":")
    within: list[Path] = []
    for volume, folder in volumes.items():
        folder.mkdir(exist_ok=True)
        os.chown(folder, int(uid), int(gid))
        (image.root / volume.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for place in places:
            if place.is_relative_to(volume):  # a checkout in /tmp
                within.append(place)
                (folder / place.relative_to(volume)).mkdir(parents=True, exist_ok=True)
    words = [f"{name}={value}" for name, value in (image.environment | environment).items()]
    return subprocess.Popen(
        [*APART, "/bin/sh", "-c", SCRIPT, "pod", *words, *command],
        env={
            "PATH": os.environ["PATH"], "image": str(image.root), "uid": uid, "gid": gid,
            "start": image.folder,
            "volumes": " ".join(f"{volume}={folder}" for volume, folder in volumes.items()),
            "places": " ".join(str(place) for place in places if place not in within),
            "within": " ".join(map(str, within)),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
