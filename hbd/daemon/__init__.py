"""The one loop, the one reading of the clock."""
