"""`python -m trio_relay` is `trio-relay`."""

from trio_relay.cli import main

main(prog_name="trio-relay")
