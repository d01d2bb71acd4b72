"""Requests: the JSON files dropped into new/, checked and made into Options; and Options made into JSON.

Nothing here does I/O or knows a server.
"""

from exportfs.requests.advice import advice
from exportfs.requests.asked import asked_of
from exportfs.requests.json_text import Completeness, completeness
from exportfs.requests.matching import fingerprint, matches
from exportfs.requests.named import Named, named_in, refusal, with_access_points
from exportfs.requests.parse import MAX_REQUEST_BYTES, Request, parse
from exportfs.requests.problems import Problem, RequestError, RequestTooLarge
from exportfs.requests.render import template, to_json
from exportfs.requests.summary import sources_of, summarize, template_source

__all__ = [
    "MAX_REQUEST_BYTES",
    "Completeness",
    "Named",
    "Problem",
    "Request",
    "RequestError",
    "RequestTooLarge",
    "advice",
    "asked_of",
    "completeness",
    "fingerprint",
    "matches",
    "named_in",
    "parse",
    "refusal",
    "sources_of",
    "summarize",
    "template",
    "template_source",
    "to_json",
    "with_access_points",
]
