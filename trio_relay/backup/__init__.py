"""Backups: whole copies of a store, made beside the running relay, and put in its place again.

With SQLite a backup is a file of its own form (`backup_file`), with OpenSearch a snapshot in the cluster's repository.
"""

from trio_relay.backup.base import BackupMade, BackupRefused, BackupStatistics, Vault
from trio_relay.backup.options import BackupOptions

__all__ = ["BackupMade", "BackupOptions", "BackupRefused", "BackupStatistics", "Vault"]
