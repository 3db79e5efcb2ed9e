"""Where the platform puts a case's images, and which of them is which channel."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nnunet_prosma.errors import InputError

ENDINGS = (".mha", ".nii.gz", ".tif", ".tiff")


@dataclass(frozen=True)
class Socket:
    """path is the socket's relative path on the platform; channels are positions in the network's input."""

    path: str
    channels: tuple[int, ...]


def parse_inputs(words: Sequence[str], channel_names: Sequence[str]) -> list[Socket]:
    """PATH=CHANNEL words -> sockets that together fill each channel once. A channel is given by name or by number."""
    sockets = []
    for word in words:
        path, equals, named = word.partition("=")
        if not equals:
            if len(words) > 1 or len(channel_names) > 1:
                raise InputError(f"--input takes PATH=CHANNEL, such as images/ct={channel_names[0]}, got {word!r}")
            named = channel_names[0]
        sockets.append(Socket(relative(path, "--input"), tuple(_index(c, channel_names) for c in named.split(","))))
    filled = sorted(channel for socket in sockets for channel in socket.channels)
    if filled != list(range(len(channel_names))):
        given = ", ".join(channel_names[channel] for channel in filled)
        raise InputError(
            f"--input must fill each channel once; they are {', '.join(channel_names)}, and given are {given}"
        )
    if len({socket.path for socket in sockets}) < len(sockets):
        raise InputError("--input names one path twice: give all of its channels at once, PATH=CHANNEL,CHANNEL")
    return sockets


def _index(channel: str, channel_names: Sequence[str]) -> int:
    if channel_names.count(channel) == 1:
        return channel_names.index(channel)
    if channel.isascii() and channel.isdecimal() and int(channel) < len(channel_names):
        return int(channel)
    raise InputError(
        f"--input names the channel {channel!r}, and dataset.json has {', '.join(channel_names)} "
        f"(or by number, 0 to {len(channel_names) - 1})"
    )


def relative(path: str, flag: str) -> str:
    """A path below /input or /output, and nothing that leads out of it."""
    pure = PurePosixPath(path)
    plain = re.fullmatch(r"[A-Za-z0-9._][A-Za-z0-9._/-]*", path)  # it gets into shell scripts
    if not plain or not pure.parts or ".." in pure.parts:
        raise InputError(
            f"{flag} takes the relative path of a socket, such as images/ct, of letters, digits and ._-/ alone, "
            f"got {path!r}"
        )
    return str(pure)


def find_files(root: Path, sockets: Sequence[Socket]) -> list[Path]:
    """The one image of each socket."""
    if not root.is_dir():
        raise InputError(f"there is no input folder {root}")
    listed = root / "inputs.json"
    if listed.is_file():
        _refuse_unlisted(listed, sockets)
    return [_only_image(root / socket.path) for socket in sockets]


def _refuse_unlisted(listed: Path, sockets: Sequence[Socket]) -> None:
    """The platform says in inputs.json which sockets this job has."""
    try:
        paths = [_path(entry) for entry in json.loads(listed.read_text())]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{listed} cannot be read as the platform's list of inputs ({error})") from None
    for socket in sockets:
        if socket.path not in paths:
            raise InputError(f"no input socket {socket.path}: inputs.json has {', '.join(paths) or 'none'}")


def _path(entry: Mapping[str, Any]) -> str:
    socket = entry["socket"] if "socket" in entry else entry["interface"]  # its former name
    return str(PurePosixPath(socket["relative_path"]))


def _only_image(folder: Path) -> Path:
    if not folder.is_dir():
        beside = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
        raise InputError(f"no input folder {folder}: {folder.parent} holds {', '.join(beside) or 'nothing'}")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.name.lower().endswith(ENDINGS)]
    if len(images) != 1:
        names = ", ".join(path.name for path in files) or "nothing"
        raise InputError(f"{folder} must hold one image ({', '.join(ENDINGS)}), and holds {names}")
    if images[0].stat().st_size == 0:
        raise InputError(f"{images[0]} is empty, 0 bytes: it was not copied whole")
    return images[0]
