"""Rows of CSV, JSONL, Parquet and Arrow files and of dataset folders, streamed; a bad row stays a row."""
