"""hbd: a heartbeat monitor that says who is down and why."""

__version__ = "0.1.0"
