"""A container's command in the root of an image: as its user, where only volumes and /tmp can be written."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helm.containerfile import Image

__all__ = ["start"]

# The shell stays, as the first process of the namespace: setpriv would cut what ends it together with ours.
SCRIPT = """
set -eu
mount --bind "$image" "$image"
mount --rbind /dev "$image/dev"
mount -t tmpfs -o mode=1777 tmpfs "$image/dev/shm"
mount -t proc proc "$image/proc"
mount --bind "$hosts" "$image/etc/hosts"
for volume in $volumes; do mount --bind "$folder/${volume##*/}" "$image$volume"; done
mount -o remount,bind,ro "$image"
chroot "$image" /usr/bin/setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all /usr/bin/env -i -C "$start" "$@" &
wait $!
"""


def start(
    image: Image, folder: Path, volumes: Sequence[str], environment: Mapping[str, str], command: Sequence[str]
) -> "subprocess.Popen[str]":
    """Start a command; ``/project`` is what ``folder/project`` is here, and so on for each volume.

    Ended with the process that is returned are all that it started: they have a PID namespace of their own.
    """
    uid, _, gid = image.user.partition(":")
    for volume in volumes:
        (folder / volume.rpartition("/")[2]).mkdir(exist_ok=True)
        os.chown(folder / volume.rpartition("/")[2], int(uid), int(gid))
        (image.root / volume.lstrip("/")).mkdir(parents=True, exist_ok=True)
    words = [f"{name}={value}" for name, value in (image.environment | environment).items()]
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return subprocess.Popen(
        [*apart, "/bin/sh", "-c", SCRIPT, "pod", *words, *command],
        env={
            "PATH": os.environ["PATH"], "image": str(image.root), "volumes": " ".join(volumes), "uid": uid,
            "gid": gid, "folder": str(folder), "hosts": "/etc/hosts",
            "start": image.folder,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
