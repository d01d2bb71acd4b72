"""How much of the footage that an archive export asked for is in its results, as far as the server tells.

Pure: what was asked (`Asked`), the files as the server describes them, and its last frame go in; a `Coverage` comes
out. Three rules, in this order:

1. A shortfall that the server's own words prove is a warning.
2. What they do not tell is `share` None and a `note`, and no warning: nobody could act on it.
3. Within a key frame's slack nothing is missing: a clip begins at a key frame and ends with a frame, so its edges are
   never those that were asked for. A clip may be longer than the interval.
"""

from exportfs.coverage.asked import Asked
from exportfs.coverage.assessment import Coverage, assess

__all__ = ["Asked", "Coverage", "assess"]
