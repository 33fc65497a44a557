#!/bin/sh
# Installs hbd on Debian 12, Ubuntu 24.04 or later, starts it and shows its status.
# May be run again: it upgrades, and keeps /etc/hbd.yaml.
set -eu

say() { printf '== %s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || fail "this needs root; try: sudo $0"
here=$(cd "$(dirname "$0")" && pwd)

command -v apt-get >/dev/null || fail "this is for Debian 12, Ubuntu 24.04 and later.
Elsewhere hbd needs Python 3.11, systemd 252, systemd-python (often python3-systemd) and
PyYAML (python3-pyyaml or python3-yaml) from the distribution. Then copy hbd/ to where its
Python looks, and packaging/hbd, hbd.service, hbd-follow.*, *.target, hbd.preset, hbd.sysusers, hbd.tmpfiles, hbd.sysctl and
hbd.catalog to where systemd looks; packaging/build-deb.sh shows each place."

export DEBIAN_FRONTEND=noninteractive
say "Installing what hbd needs: python3 python3-systemd python3-yaml systemd"
apt-get update -qq || say "apt-get update failed; going on with the lists that are there"
apt-get install -y -qq --no-install-recommends \
    python3 python3-systemd python3-yaml systemd >/dev/null
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "hbd needs Python 3.11 or later, this system has $(python3 --version)"

say "Building and installing the package"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"  # apt reads it as a user of its own
deb=$("$here/build-deb.sh" "$work")
apt-get install -y -qq --no-install-recommends --reinstall --allow-downgrades \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$deb" >/dev/null
rm -rf "$work"

if [ ! -d /run/systemd/system ]; then
    say "systemd is not running here (a container?): no service can be started."
    say "Running \"hbd run\" in the foreground with /etc/hbd.yaml instead; Ctrl-C ends it."
    say "In another terminal: hbd status"
    mkdir -p /run/hbd /var/lib/hbd
    exec hbd run
fi

say "Starting hbd.service"
if ! systemctl enable --now --quiet hbd.service; then
    systemctl --no-pager --lines=20 status hbd.service >&2 || true
    fail "the service does not start; the reason is above"
fi
for _ in 1 2 3 4 5; do
    if hbd status >/dev/null 2>&1; then break; fi
    sleep 1
done
hbd status || true
say "Done. Now edit /etc/hbd.yaml, then: hbd check && systemctl reload hbd; journalctl -u hbd"
