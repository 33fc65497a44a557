"""What the journal tells of the past: availability, outages, causes."""
