"""Whole machines: what an operator does on Debian 13, done there, by `make machines` alone, since it takes minutes.

Needs root, debootstrap and systemd-nspawn (Debian's systemd-container). Everything is made below build/machines.
"""
