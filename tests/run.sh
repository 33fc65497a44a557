#!/bin/bash
# Runs every check and every test; arguments go to pytest. As root on Debian it first
# installs what is missing. What this machine cannot run is skipped by name, with the
# reason; with CI=true a skip that an installation would cure is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

PATH=$PATH:/usr/sbin:/sbin  # an ordinary user's has them not
# Root's home is closed to the ordinary users that some tests become.
[ "$(id -u)" -eq 0 ] && home=/var/cache || home=$HOME/.cache
cache=${XDG_CACHE_HOME:-$home}/hbd-tests
export HBD_TESTS_CACHE=$cache
mkdir -p "$cache"
failed=()
skipped=()

check() {  # NAME COMMAND...
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok      %s\n' "$name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$output"
        failed+=("$name")
    fi
}
skip() {  # NAME REASON
    printf 'skipped %s: %s\n' "$1" "$2"
    [[ $2 = "needs "* ]] || skipped+=("$1: $2")  # no installation makes an ordinary user root
}
check_with() {  # TOOL NAME COMMAND...: skipped where there is no such tool
    local tool=$1
    shift
    if command -v "$tool" >/dev/null; then check "$@"; else skip "$1" "$tool is not installed"; fi
}

install_packages() {
    # command or Python module -> the package that has it
    local missing=() need
    local -A package=(
        [systemd-nspawn]=systemd-container [debootstrap]=debootstrap [nft]=nftables
        [ip]=iproute2 [tshark]=tshark [man]=man-db [groff]=groff [lintian]=lintian
        [shellcheck]=shellcheck [dpkg-deb]=dpkg [nsenter]=util-linux [openssl]=openssl
        [bird]=bird2 [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients
        [cc]=gcc [fping]=fping [oping]=oping
        [chromium-headless-shell]=chromium-headless-shell
        [promtool]=prometheus [prometheus-alertmanager]=prometheus-alertmanager
    )
    for need in "${!package[@]}"; do
        command -v "$need" >/dev/null || missing+=("${package[$need]}")
    done
    for need in python3-systemd python3-yaml python3-venv python3-pytest python3-hypothesis frr \
        python3-aiohttp python3-prometheus-client fonts-dejavu-core libc6-dev libssl-dev; do
        dpkg-query -W -f '${db:Status-Status}' "$need" 2>/dev/null | grep -qx installed ||
            missing+=("$need")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
        skip "installing ${missing[*]}" "needs apt-get and root"
        return 0
    fi
    echo "installing ${missing[*]}"
    apt-get update -qq
    install_without_starting "${missing[@]}" >"$cache/apt.log" 2>&1 ||
        { cat "$cache/apt.log"; failed+=(apt-get); }
}

# The tests run the broker and the routers themselves: as services they stay off, now and
# when the machine boots. In a subshell, for its trap.
install_without_starting() (  # PACKAGE...
    policy=/usr/sbin/policy-rc.d  # invoke-rc.d(8): 101 is "action forbidden by policy"
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || exit 1
    command -v systemctl >/dev/null || exit 0
    for package in "$@"; do
        case $package in
            bird2) systemctl disable bird.service ;;
            frr | mosquitto | prometheus | prometheus-alertmanager)
                systemctl disable "$package.service"
                ;;
        esac
    done
)

# Of the distribution's Python, because python3-systemd belongs to it.
make_venv() {
    local wanted
    wanted=$(/usr/bin/python3 --version; cat tests/requirements.txt)
    if [ "$wanted" != "$(cat "$cache/venv/wanted" 2>/dev/null)" ]; then
        rm -rf "$cache/venv"
        if ! { /usr/bin/python3 -m venv --system-site-packages "$cache/venv" &&
               "$cache/venv/bin/pip" install -q --disable-pip-version-check \
                   --ignore-installed --no-warn-conflicts -r tests/requirements.txt
             } >"$cache/pip.log" 2>&1; then
            tail -n 5 "$cache/pip.log"
            rm -rf "$cache/venv"
            skip "ruff, mypy, import-linter, pinned pytest" "no venv (see $cache/pip.log)"
            return 0
        fi
        printf '%s\n' "$wanted" >"$cache/venv/wanted"
    fi
    PATH=$cache/venv/bin:$PATH
}

# What judges the pages for those who cannot see or cannot use a mouse.
fetch_axe() {
    local version=4.14.1 work
    [ "$(cat "$cache/axe-core/version" 2>/dev/null)" != "$version" ] || return 0
    command -v npm >/dev/null || { skip axe-core "npm is not installed"; return 0; }
    work=$(mktemp -d)
    if (cd "$work" && npm pack --silent "axe-core@$version" && tar xzf axe-core-*.tgz) \
        >"$cache/npm.log" 2>&1; then
        mkdir -p "$cache/axe-core"
        cp "$work/package/axe.min.js" "$cache/axe-core/"
        echo "$version" >"$cache/axe-core/version"
    else
        tail -n 5 "$cache/npm.log"
        skip axe-core "it cannot be fetched (see $cache/npm.log)"
    fi
    rm -rf "$work"
}

check_man_page() {
    local warnings
    warnings=$(groff -t -man -ww -z -Tutf8 "$1" 2>&1)
    echo "$warnings"
    [ -z "$warnings" ]
}

# In a tree of its own: "verify" wants the program that the unit starts to be there.
verify_units() {
    local tree unit
    tree=$(mktemp -d)
    for unit in packaging/*.service packaging/*.path packaging/*.target; do
        sed "s|/usr/bin/hbd|$PWD/packaging/hbd|; s|/usr/libexec/\\(.*\\) |$PWD/packaging/\\1.sh |" \
            "$unit" >"$tree/${unit##*/}"
    done
    systemd-analyze verify --man=no "$tree"/*
    local code=$?
    rm -rf "$tree"
    return $code
}

# As the package's installation would, into a directory.
apply_declarations() {
    local tree
    tree=$(mktemp -d)
    mkdir -p "$tree/usr/lib/systemd/catalog" "$tree/var/lib/systemd/catalog" "$tree/etc"
    cp packaging/hbd.catalog "$tree/usr/lib/systemd/catalog/"
    systemd-sysusers --root="$tree" - <packaging/hbd.sysusers &&
        grep -q '^hbd:' "$tree/etc/passwd" &&
        systemd-tmpfiles --root="$tree" --create - <packaging/hbd.tmpfiles &&
        [ -d "$tree/run/hbd-changed" ] &&
        journalctl --root="$tree" --update-catalog &&
        journalctl --root="$tree" --list-catalog | grep -q 'hbd:'
    local code=$?
    rm -rf "$tree"
    return $code
}

/usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "run.sh: hbd needs /usr/bin/python3 to be 3.11 or later" >&2
    exit 1
}
install_packages
make_venv
fetch_axe
check_with ruff "ruff format" ruff format --check .
check_with ruff "ruff check" ruff check .
check_with mypy mypy mypy
check_with lint-imports import-linter lint-imports
check_with shellcheck shellcheck shellcheck packaging/*.sh packaging/*.bash-completion packaging/debian/p* tests/run.sh .ci/run
check_with systemd-analyze "systemd-analyze verify" verify_units
check_with systemd-analyze "systemd-analyze security <= 1.4" systemd-analyze security \
    --offline=yes --threshold=14 --no-pager packaging/hbd.service packaging/hbd-web.service
check_with systemd-analyze "systemd-analyze security follow <= 0.5" systemd-analyze security \
    --offline=yes --threshold=5 --no-pager packaging/hbd-follow.service
if [ "$(id -u)" -eq 0 ]; then
    check_with systemd-sysusers "sysusers, tmpfiles, catalog" apply_declarations
else
    skip "sysusers, tmpfiles, catalog" "needs root"
fi
for page in packaging/man/*.[1-8]; do
    check_with groff "man ${page##*/}" check_man_page "$page"
done

if [ "${#failed[@]}" -gt 0 ]; then printf 'run.sh: failed: %s\n' "${failed[@]}" >&2; fi

# Longer than the slowest test with its container, far shorter than a hang.
export PYTEST_TIMEOUT=300
# These need nothing but a processor: all of them are put to it, where pytest-xdist is. What is
# measured by a clock has the machine to itself.
computing=(tests/simulation tests/core tests/config tests/wire)  # what takes longest first
run_tests() {  # NAME ARGUMENTS...
    local name=$1
    shift
    python3 -m pytest "$@" || failed+=("$name")
}
# Without the venv, pytest of the distribution serves.
if python3 -c 'import pytest, yaml, systemd.journal' 2>/dev/null; then
    if [ "$#" -eq 0 ] && python3 -c 'import xdist' 2>/dev/null; then
        run_tests "pytest of ${computing[*]}" -n auto --dist worksteal "${computing[@]}"
        run_tests "pytest of the others" "${computing[@]/#/--ignore=}"
    else
        run_tests pytest "$@"
    fi
else
    skip pytest "python3-pytest, python3-yaml or python3-systemd is missing"
fi

if [ "${CI:-}" = true ] && [ "${#skipped[@]}" -gt 0 ]; then failed+=("${skipped[@]}"); fi
[ "${#failed[@]}" -eq 0 ]
