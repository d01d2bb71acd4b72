"""Files of a session: what the server says of them, what they hold, and how they are called."""

import hashlib
import uuid
from dataclasses import dataclass

from exportfs.simulator import timestamps
from exportfs.simulator.config import Config
from exportfs.simulator.exports.plan import Plan
from exportfs.simulator.media.content import Content, Held
from exportfs.simulator.media.footage import MIME_TYPES, Clip
from exportfs.simulator.media.zipped import encrypted_zip
from exportfs.wire import service


@dataclass(slots=True)
class StoredFile:
    """One result."""

    content: Content
    message: service.Result.File
    """As announced; a test may announce another size than `content` has."""
    downloadable: bool = True

    @property
    def path(self) -> str:
        return self.message.path


def stored(
    path: str,
    content: Content,
    *,
    size: int | None = None,
    mime_type: str = "video/mp4",
    first: float | None = None,
    last: float | None = None,
) -> StoredFile:
    """A result under the file id `path`; `size` is what is announced, None: the truth."""
    message = service.Result.File(
        path=path,
        size=content.size if size is None else size,
        mime_type=mime_type,
        min_timestamp="" if first is None else timestamps.text(first),
        max_timestamp="" if last is None else timestamps.text(last),
    )
    return StoredFile(content, message)


def _file_id(style: str | tuple[str, ...], session_id: str, name: str, number: int) -> str:
    if isinstance(style, tuple):
        return style[number % len(style)]
    if style == "slashes":
        return f"{session_id}/{number}/{name}"
    if style == "opaque":
        return hashlib.sha256(f"{session_id} {number}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return name


def _name(plan: Plan, clip: Clip, number: int, count: int) -> str:
    camera = ".".join(clip.footage.cameras[0].split("/")[2:-1]) or "camera"
    # Documented: it only works where the agent stores the result, or with a directory.
    named = plan.file_name if plan.stored_by_agent or plan.external_directory else ""
    base = named or f"{camera}_{timestamps.brief(clip.first)}"
    part = f"_{number + 1}" if count > 1 else ""
    return f"{base}{part}.{plan.kind}"


def from_clips(config: Config, plan: Plan, session_id: str, clips: list[Clip]) -> list[StoredFile]:
    """The results of a finished export, in the server's order."""
    files = []
    for number, clip in enumerate(clips):
        name, data, mime_type = _name(plan, clip, number, len(clips)), clip.data, MIME_TYPES[plan.kind]
        if plan.password and plan.kind != "exe":
            # A password makes an encrypted ZIP; how the server calls it is not known.
            data, mime_type = encrypted_zip(name, data, plan.password), "application/zip"
            name = f"{name}.zip"
        file = stored(
            _file_id(config.file_ids, session_id, name, number),
            Held(data),
            mime_type=mime_type,
            first=clip.first,
            last=clip.last,
        )
        file.downloadable = plan.downloadable
        file.message.timezone = plan.timezone
        if plan.external_directory:
            separator = "\\" if "\\" in plan.external_directory else "/"
            file.message.path = plan.external_directory.rstrip(separator) + separator + name
        elif not plan.downloadable:
            file.message.path = f"{config.agent_directory}\\{session_id.rsplit('/')[-1]}\\{name}"
        if plan.in_cloud:
            file.message.cloud_id = str(uuid.uuid4())
        files.append(file)
    return files
