"""Names of cameras, archives and agents in a request, turned into the access points that are sent."""

import trio

from exportfs.cameras.naming import find_agent, find_archive, find_camera
from exportfs.errors import AccessDenied, ExportfsError, InvalidArgument, TimedOut, Unsupported
from exportfs.requests import Named, Request, named_in, refusal, with_access_points
from exportfs.requests.named import AGENT, CAMERA
from exportfs.site import Camera
from exportfs.vfs.context import Context

_THEN = "write it again later, or with access points in place of names"


async def resolved(context: Context, request: Request, content: bytes, *, until: float) -> Request:
    """The request with access points in place of names. Without names it is as it was, at once, without an await.
    until: when they must have been looked up, by trio's clock.

    Raises RequestError for a name that means nothing or several things, TimedOut and others where the server cannot be
    asked. A server that does not tell of its cameras gets what was written: it decides.
    """
    names = named_in(request)
    if not names:
        return request
    points: dict[Named, str] = {}
    with trio.move_on_at(until) as scope:
        for named in names:
            try:
                points[named] = await _meaning(context, named)
            except (Unsupported, AccessDenied):
                continue
            except InvalidArgument as error:
                message = str(error)
                if named.kind == AGENT and named.text == context.agent:
                    message += "; mount with another --agent, or name one in the request"
                raise refusal(request, content, named, message) from None
            except ExportfsError as error:
                what = f"{named.kind} {named.text!r}"
                said = context.ledger.records.nothing_sent_of_any()
                raise type(error)(f"{what} cannot be looked up: {error}; {said}; {_THEN}") from None
    if scope.cancelled_caught:
        said = context.ledger.records.nothing_sent_of_any()
        raise TimedOut(f"the names in it could not be looked up in time; {said}; {_THEN}")
    return with_access_points(request, points)


async def _meaning(context: Context, named: Named) -> str:
    """The access point that a name means. Raises Unsupported where the server does not tell."""
    if named.kind == AGENT:
        agents = await context.cameras.agents()
        if not agents:
            raise Unsupported("the server names no export agents")
        return find_agent(named.text, agents).access_point
    camera = await _camera(context, named.text if named.kind == CAMERA else named.origin)
    if named.kind == CAMERA:
        return camera.access_point
    return find_archive(named.text, await context.cameras.detailed(camera.access_point)).access_point


async def _camera(context: Context, text: str) -> Camera:
    cameras = context.cameras
    await cameras.fresh()
    by_point = cameras.get(text)
    if by_point is not None:
        return by_point
    if not len(cameras):
        raise Unsupported("the server does not tell of its cameras")
    try:
        return find_camera(text, list(cameras))
    except InvalidArgument:
        await cameras.named(text)  # it may be new: another listing, where the last one is not of just now
        return find_camera(text, list(cameras))
