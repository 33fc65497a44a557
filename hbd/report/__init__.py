"""What people and other programs are told: journal, systemd, files, control socket."""
