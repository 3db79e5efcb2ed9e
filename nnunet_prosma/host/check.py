"""Reading nnU-Net's files: what is wrong with one is a sentence that names the file and the field."""

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json

T = TypeVar("T")
KINDS = {
    "array": "a list",
    "object": "an object",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
"""JSON's words for what msgspec calls otherwise."""


def read_checked(path: Path, kind: type[T], json_kind: type = dict) -> tuple[Any, T]:
    """What stands in the file, as nnU-Net takes it, and the same as a checked type."""
    content = read_json(path, json_kind)
    return content, converted(content, kind, str(path))


def checked(content: Any, kind: type[T], source: str, inside: str = "$") -> T:
    """content as kind. source names the file in the error, inside the place in it that content stands at."""
    if (place := _array_in(content)) is not None:
        raise InputError(f"{source}: {inside}{place} must be text, a number, a list or an object, and is an array")
    return converted(content, kind, source, inside)


def converted(content: Any, kind: type[T], source: str, inside: str = "$") -> T:
    """As checked, of content whose further parts may hold anything."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: {_sentence(content, kind, str(error), inside)}") from None
    except UnicodeEncodeError:
        raise InputError(f"{source}: {inside} holds text that is no Unicode (half of a surrogate pair)") from None


def _array_in(content: Any) -> str | None:
    """The place behind $ of an array. Checkpoints hold Python's objects, so that one may stand anywhere in them."""
    if isinstance(content, dict):
        parts = ((f".{key}", value) for key, value in content.items() if not isinstance(value, str))
    elif isinstance(content, list | tuple):
        parts = ((f"[{number}]", value) for number, value in enumerate(content))
    else:
        return "" if getattr(content, "shape", ()) != () else None
    return next((name + place for name, value in parts if (place := _array_in(value)) is not None), None)


def _sentence(content: Any, kind: Any, message: str, inside: str) -> str:
    said, _, place = message.partition(" - at `")
    where = inside + _named(content, kind, message, place.rstrip("`"))
    if found := re.fullmatch(r"Expected `(.*)`, got `(.*)`", said):
        wanted, got = (" or ".join(KINDS.get(word, word) for word in part.split(" | ")) for part in found.groups())
        return f"{where} must be {wanted}, and is {got}"
    if found := re.fullmatch(r"Object missing required field `(.*)`", said):
        return f"{where}.{found[1]} is missing"
    if found := re.fullmatch(r"`(\w+)` (must .*)", said):
        return f"{where}.{found[1]} {found[2]}"
    return f"{where}: {said}"


def _named(content: Any, kind: Any, message: str, place: str) -> str:
    """The place behind $, with the keys of objects, for which msgspec says [...]: the one that alone fails alike."""
    named, node = "", content
    keys: list[Any] = []
    for field, index, unnamed in re.findall(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])", place):
        key: Any = int(index) if index else field
        if unnamed:
            key = next((k for k in node if _fails_alike(_with(content, keys, {k: node[k]}), kind, message)), None)
            if key is None:
                return named + place[len(named) :]
            content = _with(content, keys, {key: node[key]})
        named += f"[{key}]" if index else f".{key}"
        keys.append(key)
        node = node[key]
    return named


def _with(content: Any, keys: list[Any], node: Any) -> Any:
    """A copy of content with node at these keys."""
    if not keys:
        return node
    copy = content.copy()
    copy[keys[0]] = _with(content[keys[0]], keys[1:], node)
    return copy


def _fails_alike(content: Any, kind: Any, message: str) -> bool:
    try:
        msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        return str(error) == message
    return False
