"""Polls as processes that meet faults: of signals, disks, clocks, files and endpoints."""
