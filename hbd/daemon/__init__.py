"""The one loop, the one reading of the clock, and what it turns around.

`daemon` is the loop and `monitor` the fleet on real sockets; `senders`, `streams` and `ears` ask,
hold connections and only hear, `inquirer` asks for evidence. `mirror` answers the heartbeats of
others. `teller` brings what happened to the store, the journal and the files; `desk` answers the
control socket.
"""
