"""The site of a simulated server: its cameras, archives and footage, and the two services that tell of them."""

from exportfs.simulator.site.believable import believable_site
from exportfs.simulator.site.footage import Recorded
from exportfs.simulator.site.model import Site, SiteArchive, SiteCamera, plain_site

__all__ = ["Recorded", "Site", "SiteArchive", "SiteCamera", "believable_site", "plain_site"]
