# On a Debian with its systemd, as root: the shipped unit and fstab, through crashes, hurried stops and a reboot.
# `prepare` (systemd does not run yet, the package lies beside), then `first` and `second`, each after a boot.
# Ends at the first thing wrong.
unit=axxon-exportfs@hq

mounted() { grep -q " $1 .* - fuse.axxon-exportfs " /proc/self/mountinfo; }
sees() { mounted "$1" && [ -n "$(ls "$1"/sessions)" ]; }
serves() { sees "$1" 2>/dev/null; }
pid() { systemctl show -p MainPID --value "$unit"; }
pid_at() { sed -nE 's/^ {1,4}"pid": ([0-9]+).*/\1/p' "$1/.status.json" | head -n 1; } # of the mount, not of its callers
eventually() {
    for _ in $(seq 600); do "$@" && return; sleep 0.1; done
    echo "never: $*"; exit 1
}
tell() { [ $? = 0 ] || { set +e; systemctl --no-pager status "$unit"; journalctl --no-pager -n 60; cat /proc/self/mountinfo; } }
# Settings of the unit for a while, until it is called without any.
override() {
    local folder="/run/systemd/system/$unit.service.d"
    if [ $# = 0 ]; then rm -r "$folder"; else mkdir -p "$folder"; printf "$1" >"$folder/for-a-while.conf"; fi
    systemctl daemon-reload
}
gone() { ! "$@"; }
works_in() { [ "$(readlink "/proc/$2/cwd")" = "$1" ]; }

prepare() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends ./axxon-exportfs_*.deb systemd systemd-sysv libpam-systemd \
        dbus-user-session logrotate >/dev/null
    cat >/etc/systemd/system/simulator.service <<'END'
[Service]
ExecStart=/usr/bin/axxon-exportfs simulate --insecure --port 20110 --sessions 1
ExecStartPost=/bin/bash -c 'until exec 3<>/dev/tcp/127.0.0.1/20110; do sleep 0.1; done 2>/dev/null'
[Install]
WantedBy=multi-user.target
END
    mkdir -p /var/log/journal # kept from one boot to the next
    systemctl enable -q simulator
    mkdir -p /etc/axxon-exportfs /mnt/boot /mnt/look
    cat >/etc/axxon-exportfs/config.toml <<'END'
[profile.hq]
server = "127.0.0.1:20110"
insecure = true
user = "demo"
END
    (umask 077; echo demo >/etc/axxon-exportfs/hq.password)
    local options="insecure,username=demo,password-file=/etc/axxon-exportfs/hq.password,_netdev"
    cat >>/etc/fstab <<END
127.0.0.1:20110  /mnt/boot  fuse.axxon-exportfs  $options,x-systemd.requires=simulator.service  0  0
127.0.0.1:20110  /mnt/look  fuse.axxon-exportfs  $options,noauto,x-systemd.automount  0  0
END
}

first() {
    eventually sees /mnt/boot
    systemctl start "$unit"
    sees /mnt/axxon/hq # started: it can be used

    : A crash heals itself, with nobody who looks.
    before=$(pid)
    kill -9 "$before"
    eventually gone test -e "/proc/$before"
    eventually serves /mnt/axxon/hq
    [ "$(pid)" != "$before" ]
    [ "$(grep -c ' /mnt/axxon/hq ' /proc/self/mountinfo)" = 1 ]

    : So does one that is stuck.
    override '[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n'
    systemctl restart "$unit"
    before=$(pid)
    kill -STOP "$before"
    eventually gone test -e "/proc/$before"
    eventually serves /mnt/axxon/hq
    override

    : Stopped while somebody works in it.
    (cd /mnt/axxon/hq && exec sleep 1000) &
    worker=$!
    eventually works_in /mnt/axxon/hq "$worker"
    systemctl stop "$unit"
    [ "$(systemctl is-active "$unit")" = inactive ]
    if mounted /mnt/axxon/hq; then exit 1; fi
    kill $worker

    : Stopped soon after its start, at whatever moment.
    for number in $(seq 0 24); do
        systemctl start --no-block "$unit"
        sleep "$(printf '0.%02d' $((number * 4)))"
        systemctl stop "$unit"
        if mounted /mnt/axxon/hq || [ -n "$(ls -A /mnt/axxon/hq)" ]; then echo "left by stop $number"; exit 1; fi
        if systemctl is-failed -q "$unit"; then echo "failed at stop $number"; exit 1; fi
    done
    for _ in $(seq 25); do
        systemctl start "$unit"
        systemctl stop "$unit"
        if mounted /mnt/axxon/hq || [ -n "$(ls -A /mnt/axxon/hq)" ]; then exit 1; fi
        if systemctl is-failed -q "$unit"; then exit 1; fi
    done

    : A wrong option is said once, a mistake in the configuration until it is mended.
    override '[Service]\nExecStart=\nExecStart=axxon-exportfs mount hq /mnt/axxon/hq --foreground --nonsense\n'
    if systemctl start "$unit"; then exit 1; fi
    [ "$(systemctl is-active "$unit")" = failed ]
    journalctl --no-pager -u "$unit" | grep -e --nonsense
    override
    systemctl reset-failed "$unit"
    echo 'nonsense = true' >>/etc/axxon-exportfs/config.toml
    if systemctl start "$unit"; then exit 1; fi
    [ "$(systemctl is-active "$unit")" = activating ]
    journalctl --no-pager -u "$unit" | grep 'unknown key `nonsense`'
    sed -i '/nonsense/d' /etc/axxon-exportfs/config.toml
    eventually serves /mnt/axxon/hq
    systemctl stop "$unit"

    : fstab: a crash leaves no dead mount, and is mounted again.
    kill -9 "$(pid_at /mnt/boot)"
    eventually gone mounted /mnt/boot
    mount -a
    sees /mnt/boot
    mount -a # finds it mounted
    [ "$(grep -c ' /mnt/boot ' /proc/self/mountinfo)" = 1 ]
    if mounted /mnt/look; then exit 1; fi
    sees_by_looking /mnt/look
    kill -9 "$(pid_at /mnt/look)"
    eventually sees_by_looking /mnt/look

    systemctl enable -q "$unit"
    rotated
    of_a_user
    : So that the end of the machine finds them all in use.
    systemctl start "$unit"
    for place in /mnt/boot /mnt/look /mnt/axxon/hq; do
        systemd-run -q --working-directory=$place sleep 1000
    done
    date +%s >/var/tmp/end
}

sees_by_looking() { [ -n "$(ls "$1"/sessions 2>/dev/null)" ] && mounted "$1"; }

: logrotate itself, each way.
rotated() {
    mkdir -p /mnt/log
    axxon-exportfs mount 127.0.0.1:20110 /mnt/log --insecure --user demo --password-file /etc/axxon-exportfs/hq.password \
        --log-file /var/log/vms.log --log-level debug
    for way in "create 600 root root" "create 600 root root
        postrotate
            kill -HUP $(pid_at /mnt/log)
        endscript" copytruncate; do
        printf '/var/log/vms.log {\nrotate 9\n%s\n}\n' "$way" >/tmp/rotate.conf
        eventually test -s /var/log/vms.log
        logrotate --force --state /tmp/rotate.state /tmp/rotate.conf
        eventually written
        sees /mnt/log
        if ls -l "/proc/$(pid_at /mnt/log)/fd" | grep -E 'vms.log(\.1| \(deleted\))'; then exit 1; fi
    done
    [ -s /var/log/vms.log.3 ]
    umount /mnt/log
}
written() { ls /mnt/log/sessions/* >/dev/null; cat /mnt/log/sessions/*/* >/dev/null; [ -s /var/log/vms.log ]; }

: A unit of a user who is not even logged in.
of_a_user() {
    loginctl enable-linger ana
    eventually systemctl -q is-active user@1000
    cat >/tmp/as-ana <<'END'
set -eux
export XDG_RUNTIME_DIR=/run/user/1000
mkdir -p ~/.config/axxon-exportfs
cp /tmp/config.toml ~/.config/axxon-exportfs/
(umask 077; echo demo >~/.config/axxon-exportfs/hq.password)
systemctl --user enable --now axxon-exportfs@hq
[ -n "$(ls ~/axxon/hq/sessions)" ]
kill -9 "$(systemctl --user show -p MainPID --value axxon-exportfs@hq)"
for _ in $(seq 600); do [ -z "$(ls ~/axxon/hq/sessions 2>/dev/null)" ] || break; sleep 0.1; done
[ -n "$(ls ~/axxon/hq/sessions)" ]
for _ in $(seq 10); do
    systemctl --user stop axxon-exportfs@hq
    if grep " $HOME/axxon/hq " /proc/self/mountinfo; then exit 1; fi
    systemctl --user start axxon-exportfs@hq
done
END
    cp /etc/axxon-exportfs/config.toml /tmp/
    su ana -c 'sh /tmp/as-ana'
}

second() {
    [ $(($(date +%s) - $(cat /var/tmp/end))) -lt 60 ] # ended and begun again, not waited for
    eventually sees /mnt/boot
    eventually sees /mnt/axxon/hq
    if mounted /mnt/look; then exit 1; fi
    eventually sees_by_looking /mnt/look
    eventually mounted /home/ana/axxon/hq
    [ -n "$(su ana -c 'ls ~/axxon/hq/sessions')" ]
    journalctl --no-pager --since "@$(cat /var/tmp/end)" >/tmp/before
    grep -q 'ended the mount at /mnt/axxon/hq' /tmp/before
    if grep -iE 'axxon.*(traceback|timed out|killing)' /tmp/before; then exit 1; fi
    if systemctl --failed --no-legend | grep -E 'axxon|mnt'; then exit 1; fi
}

if [ "$1" != prepare ]; then trap tell EXIT; fi
"$1"
