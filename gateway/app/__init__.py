"""The composition root: the only room that knows every other. It turns a configuration into a running gateway."""

from gateway.app.gateway import Gateway
from gateway.app.reload import Source
from gateway.app.times import clock, now
from gateway.app.upstreams import account, open_upstreams

__all__ = ["Gateway", "Source", "account", "clock", "now", "open_upstreams"]
