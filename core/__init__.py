"""What every room of xpoll may import: config, records, errors, files, tables, statistics. Imports no other room."""
