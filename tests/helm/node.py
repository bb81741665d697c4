"""What a node of a cluster does for the containers of manifests: their secrets, words and processes."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from tests.helm.conftest import Manifest

if TYPE_CHECKING:
    import subprocess

__all__ = ["Node", "Running", "container", "pods"]

Start = Callable[[Mapping[str, str], Sequence[str]], "subprocess.Popen[str]"]
"""Starts a process with an environment and a command."""


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the spec of each pod that manifests ask for, and its name, such as ``Deployment/dashboard``."""
    for one in manifests:
        spec, name = one.get("spec", {}), f"{one['kind']}/{one['metadata']['name']}"
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if one["kind"] == "Pod":
            yield name, spec
        elif "template" in spec and "spec" in spec["template"]:
            yield name, spec["template"]["spec"]
        elif cluster := spec.get("rayClusterConfig", spec.get("rayClusterSpec")):
            yield f"{name}/head", cluster["headGroupSpec"]["template"]["spec"]
            for group in cluster.get("workerGroupSpecs", []):
                yield f"{name}/{group['groupName']}", group["template"]["spec"]


def container(manifests: list[Manifest], kind: str, name: str, of: str = "containers") -> dict[str, Any]:
    """Return the first container of the pods of an object, which has ``name`` at the end of its own."""
    [found] = [spec[of][0] for place, spec in pods(manifests) if re.fullmatch(f"{kind}/.*{name}", place)]
    return found


class Node:
    """Starts containers: their words, their environment, their secrets."""

    def __init__(
        self, start: Start, secrets: Mapping[tuple[str, str], str], words: Mapping[str, str]
    ) -> None:
        self._start, self._secrets, self._words = start, secrets, words
        longest = sorted(words, key=len, reverse=True)
        self._found = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, longest))})(?![\w.-])")

    def start(
        self, given: dict[str, Any], command: Sequence[str] = (), more: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a container, or another command in it; ``more`` is added to its environment."""
        words = [self.local(word) for word in command or [*given["command"], *given.get("args", [])]]
        return self._start({one["name"]: self._value(one) for one in given["env"]} | dict(more or {}), words)

    def run(self, given: dict[str, Any], command: Sequence[str] = (), seconds: float = 300) -> str:
        """Run a container to its end; return what it said."""
        process = self.start(given, command)
        try:
            said, _ = process.communicate(timeout=seconds)
        finally:
            process.kill()
        assert process.returncode == 0, said
        return said

    @contextlib.contextmanager
    def running(
        self, given: dict[str, Any], command: Sequence[str] = (), more: Mapping[str, str] | None = None
    ) -> Iterator["Running"]:
        """Run a container for the length of the block."""
        process = Running(self.start(given, command, more))
        try:
            yield process
        finally:
            process.kill()

    def _value(self, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return self.local(variable["value"])
        asked = variable["valueFrom"]["secretKeyRef"]
        return self._secrets[asked["name"], asked["key"]]

    def local(self, text: str) -> str:
        """Return a text with the ports, names and folders that are others here."""
        return self._found.sub(lambda found: self._words[found[1]], text)


class Running:
    """A process of a container."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.append(line)

    @property
    def said(self) -> str:
        """What it has written until now."""
        return "".join(self._lines)

    def kill(self) -> None:
        """End it by SIGKILL, and all that it started."""
        if self._process.poll() is None:
            for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()
        self._reading.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def wait_for(
        self, url: str, wanted: str, seconds: float = 180, headers: Mapping[str, str] | None = None
    ) -> str:
        """Return what ``url`` answers, once it has ``wanted`` in it."""
        end = time.monotonic() + seconds
        said = ""
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                said = httpx.get(url, timeout=10, headers=headers).text
                if wanted in said.replace('": "', '":"'):
                    return said
            time.sleep(0.5)
        raise AssertionError(f"{url}: {said}\n{self.said[-5000:]}")

    def wait_for_line(self, wanted: str, seconds: float = 180) -> str:
        """Return all that it has written, once ``wanted`` is in it."""
        end = time.monotonic() + seconds
        while wanted not in self.said:
            assert time.monotonic() < end, self.said
            assert self._process.poll() is None or self._reading.is_alive(), self.said
            time.sleep(0.1)
        return self.said
