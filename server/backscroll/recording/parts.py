"""Parts of a content: the media in them, in any of the three shapes, and what they say beside."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from ..models import NewMedia
from ..text import clean_json, clean_text

_DATA_URI = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*?;base64,(?P<data>.*)", re.DOTALL)


def maybe_text(value: Any) -> str | None:
    return None if value is None or value == "" else clean_text(str(value))


def rest_of(part: Any, placed: tuple[str, ...]) -> dict[str, Any]:
    """What a part says beside what was placed."""
    if not isinstance(part, Mapping):
        return {}
    return {
        clean_text(str(name)): clean_json(value)
        for name, value in part.items()
        if name not in placed and value is not None and value != []
    }


def media_of(part: Mapping[str, Any]) -> NewMedia | None:
    """The medium of a part, in any of the three shapes; None where it is none, or cannot be decoded."""
    kind = part.get("type")
    if kind in ("image_url", "input_image"):
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        return _from_url(url, "image/*")
    if kind in ("image", "document"):
        source = part.get("source")
        if isinstance(source, Mapping):
            if source.get("type") == "url":
                return _from_url(source.get("url"), "image/*" if kind == "image" else "application/octet-stream")
            return _from_base64(source.get("data"), source.get("media_type"), part.get("title"))
        # MCP's own image content has data and mimeType on the part.
        return _from_base64(part.get("data"), part.get("mimeType"), None)
    if kind in ("input_audio", "audio"):
        audio = part.get("input_audio", part)
        if isinstance(audio, Mapping):
            return _from_base64(audio.get("data"), audio.get("mimeType") or f"audio/{audio.get('format') or '*'}", None)
    if kind in ("file", "input_file"):
        file = part.get("file", part)
        if isinstance(file, Mapping) and isinstance(file.get("file_data"), str):
            data = file["file_data"]
            found = _from_url(data, None) if data.startswith("data:") else _from_base64(data, None, None)
            return found and found.model_copy(update={"name": maybe_text(file.get("filename"))})
    return None


_CARRIES_MEDIA = ("image_url", "source", "input_audio", "file")
_OF_MEDIA = ("type", "url", "data", "file_data", "media_type", "mimeType", "format", "filename", "title")


def rest_of_media(part: Mapping[str, Any], media: NewMedia) -> dict[str, Any]:
    """What a part says of its medium beside bytes or URL and type: its name, the detail asked for."""
    inner: Mapping[str, Any] = next((part[name] for name in _CARRIES_MEDIA if isinstance(part.get(name), Mapping)), {})
    rest = {**rest_of(inner, _OF_MEDIA), **rest_of(part, (*_CARRIES_MEDIA, *_OF_MEDIA))}
    return {**rest, **({"name": media.name} if media.name else {})}


def _from_url(url: Any, mime_type: str | None) -> NewMedia | None:
    if not isinstance(url, str) or not url:
        return None
    if url.startswith("data:"):
        found = _DATA_URI.fullmatch(url)
        return None if found is None else _from_base64(found["data"], found["type"], None)
    return NewMedia(mime_type=mime_type or "application/octet-stream", url=clean_text(url))


def _from_base64(data: Any, mime_type: Any, name: Any) -> NewMedia | None:
    if not isinstance(data, str) or not data:
        return None
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = mime_type if isinstance(mime_type, str) and mime_type else "application/octet-stream"
    return NewMedia(mime_type=clean_text(kind), data=decoded, name=maybe_text(name))


_AGNO_MEDIA = {"images": "image/*", "audio": "audio/*", "videos": "video/*", "files": None}


def takes_media(name: str, several: Any, media: list[NewMedia]) -> bool:
    """Agno keeps media beside the content, in lists, each with a url or base64. True if all could be placed."""
    if name not in _AGNO_MEDIA or not isinstance(several, list | tuple):
        return False
    kind = _AGNO_MEDIA[name]
    found = [
        _from_url(one.get("url"), kind) or _from_base64(one.get("content"), one.get("mime_type") or kind, None)
        for one in several
        if isinstance(one, Mapping)
    ]
    placed = [media for media in found if media is not None]
    media.extend(placed)
    return len(placed) == len(several)
