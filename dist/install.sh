#!/bin/sh
# Installs nodewall on a distribution without Debian packages, or removes it.
set -eu

usage() {
    cat <<'END'
Usage: ./install.sh [--destdir DIR]      install (as root), and start the service
       ./install.sh --uninstall          stop, take the filter off, remove; what
                                         you wrote in /etc/nodewall stays

With --destdir the files are only copied, as for a package of your own.
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

here=$(cd "$(dirname "$0")" && pwd)
policy=/etc/nodewall/nodewall.toml

copy() {
    (cd "$here" && find usr -type f) | while read -r file; do
        mkdir -p "$1/$(dirname "$file")"
        # Replaced in one step, also where the program is running.
        cp "$here/$file" "$1/$file.new"
        mv "$1/$file.new" "$1/$file"
    done
}

make_users() {
    if has systemd-sysusers; then
        systemd-sysusers nodewall.conf
        return
    fi
    has groupadd && has useradd || fail "there is neither systemd-sysusers nor useradd: make the user and group nodewall and the group nodewall-admin, and start again"
    grep -q '^nodewall:' /etc/group || groupadd --system nodewall
    grep -q '^nodewall-admin:' /etc/group || groupadd --system nodewall-admin
    grep -q '^nodewall:' /etc/passwd ||
        useradd --system --gid nodewall --home-dir /var/lib/nodewall --shell /usr/sbin/nologin nodewall
}

write_policy() {
    mkdir -p /etc/nodewall
    chown root:nodewall /etc/nodewall
    chmod 0750 /etc/nodewall
    if [ ! -e "$policy" ]; then
        /usr/lib/nodewall/initial-policy >"$policy.new"
        chown root:nodewall "$policy.new"
        chmod 0640 "$policy.new"
        mv "$policy.new" "$policy"
    fi
}

install() {
    copy ""
    make_users
    write_policy
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable nodewall.service
        # An older version's daemon is replaced; its filter stays on meanwhile.
        systemctl restart nodewall.service
        echo "nodewall watches, and drops nothing until $policy says so: nodewall status"
    else
        echo "installed; there is no systemd to start it: have your init system run \`nodewall run\` as root before the network"
    fi
}

uninstall() {
    if [ -d /run/systemd/system ]; then
        systemctl disable --now nodewall.service || true
    fi
    # 3: nothing is attached.
    nodewall detach --yes || [ $? -eq 3 ] || fail "the filter could not be taken off, so nothing was removed"
    (cd "$here" && find usr -type f) | while read -r file; do
        rm -f "/$file"
    done
    rmdir /usr/lib/nodewall /sys/fs/bpf/nodewall 2>/dev/null || true
    rm -rf /usr/share/doc/nodewall /var/lib/nodewall /var/log/nodewall
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
    fi
    echo "removed; /etc/nodewall and the user nodewall are still there"
}

root() {
    [ "$(id -u)" = 0 ] || fail "this needs root: sudo ./install.sh"
}

case "${1:-}" in
'')
    root
    install
    ;;
--destdir)
    [ $# -eq 2 ] || { usage >&2; exit 2; }
    copy "$2"
    ;;
--uninstall)
    root
    uninstall
    ;;
-h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
