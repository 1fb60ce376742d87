"""What every part of xpoll may import: records, config, errors, files, environment. Imports no other part."""
