"""The ground floor: what more than one plugin, or a program on the host, stands on."""
