"""Arrays become pages and figures; knows no command, no network, no disk."""
