"""`.metrics`: the mount's counters in the OpenMetrics text format. Nothing here runs before somebody reads it."""
