"""The PC end of the cable: reads and configures meters, real or virtual, without loading one or numba."""

from countis.site.bus import Bus, RemoteMeter
from countis.site.line import Line, open_line

__all__ = ["Bus", "Line", "RemoteMeter", "open_line"]
