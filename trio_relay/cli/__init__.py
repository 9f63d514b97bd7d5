"""The command `trio-relay`: reads arguments and configuration, does one thing, and ends with an exit code."""

from __future__ import annotations

from trio_relay.cli.admin_link import admin_link_command
from trio_relay.cli.backup_commands import backup_command, restore_command
from trio_relay.cli.checking_store import check_command
from trio_relay.cli.completion import completion_command
from trio_relay.cli.doctor_command import doctor_command
from trio_relay.cli.export_command import export_command
from trio_relay.cli.import_command import import_command
from trio_relay.cli.init_command import init_command
from trio_relay.cli.leaving import EXITS
from trio_relay.cli.operating import count_command, query_command, stats_command
from trio_relay.cli.relay_calls import call_command, compact_command, delete_command
from trio_relay.cli.reload_command import reload_command
from trio_relay.cli.retention_command import retention_command
from trio_relay.cli.serving_commands import main
from trio_relay.cli.store_commands import migrate_command, trends_command
from trio_relay.cli.sync_command import sync_command
from trio_relay.cli.top import top_command
from trio_relay.cli.why import why_command

for command in (
    admin_link_command,
    call_command,
    check_command,
    compact_command,
    completion_command,
    count_command,
    doctor_command,
    delete_command,
    import_command,
    init_command,
    export_command,
    migrate_command,
    query_command,
    reload_command,
    retention_command,
    stats_command,
    backup_command,
    restore_command,
    sync_command,
    top_command,
    trends_command,
    why_command,
):
    main.add_command(command)
main.epilog = str(EXITS[""])
for name, command in main.commands.items():
    command.epilog = str(EXITS[name])

__all__ = ["main"]
