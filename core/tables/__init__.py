"""Streams the rows of CSV, JSONL, Parquet and Arrow files and of data set folders; a bad row stays a row."""
