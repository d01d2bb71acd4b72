# On a Debian with its systemd, as root: the mount and nfs-ganesha as docs/gateway.md has them, drop-ins and all.
# `prepare` (systemd does not run yet; the package and gateway.md lie beside), then `booted`. Ends at the first thing wrong.
place=/srv/video/axxon mount=srv-video-axxon.mount ganesha=nfs-ganesha.service

# The files of gateway.md that a server needs, where it says: a line that ends with the name, and the block after it.
written() {
    python3 - "$@" <<'END'
import pathlib, re, sys
blocks = re.findall(r"`(/etc/[^`]+)`:\n\n```\w*\n(.*?)^```$", pathlib.Path("gateway.md").read_text(), re.DOTALL | re.MULTILINE)
found = dict(blocks)
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if name == "/etc/fstab" else "w") as file:
        file.write(found[name])
END
}

prepare() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends ./axxon-exportfs_*.deb systemd systemd-sysv dbus rpcbind nfs-ganesha \
        nfs-ganesha-vfs libnfs-utils >/dev/null
    cat >/etc/systemd/system/simulator.service <<'END'
[Service]
ExecStart=/usr/bin/axxon-exportfs simulate --insecure --port 20110 --sessions 1
ExecStartPost=/bin/bash -c 'until exec 3<>/dev/tcp/127.0.0.1/20110; do sleep 0.1; done 2>/dev/null'
[Install]
WantedBy=multi-user.target
END
    mkdir -p /var/log/journal /etc/axxon-exportfs $place
    systemctl enable -q simulator
    groupadd -f analysts
    useradd -G analysts ben
    written /etc/fstab /etc/ganesha/ganesha.conf /etc/systemd/system/nfs-ganesha.service.d/video.conf \
        /etc/systemd/system/srv-video-axxon.mount.d/ganesha.conf
    # This server has neither name nor certificate.
    sed -i "s|^vms.example.org|127.0.0.1:20110|; s|ca-file=[^,]*|insecure,x-systemd.requires=simulator.service|
        s|username=gateway|username=demo|" /etc/fstab
    (umask 077; echo demo >/etc/axxon-exportfs/vms.password)
    # A container has not all of root's rights.
    if grep -q Allow_Set_Io_Flusher_Fail /usr/lib/ganesha/libganesha_nfsd.so; then
        sed -i '0,/{/s//{\n    Allow_Set_Io_Flusher_Fail = true;/' /etc/ganesha/ganesha.conf
    fi
}

eventually() {
    for _ in $(seq 600); do "$@" && return; sleep 0.1; done
    echo "never: $*"; exit 1
}
gone() { ! "$@"; }
tell() {
    [ $? = 0 ] && return
    set +e
    systemctl --no-pager status $mount $ganesha; journalctl --no-pager -n 80; cat /var/log/ganesha/ganesha.log | tail -n 30
}
mounted() { grep -q " $place .* - fuse.axxon-exportfs " /proc/self/mountinfo; }
url() { echo "nfs://127.0.0.1/axxon/$1?version=4&uid=$(id -u ben)&gid=$(getent group analysts | cut -d: -f3)"; }
listed() { nfs-ls "$(url "")" 2>/dev/null | grep -q sessions; }
process() { systemctl show -p MainPID --value $ganesha; }
mounts_process() { sed -nE 's/^ {1,4}"pid": ([0-9]+).*/\1/p' $place/.status.json | head -n 1; }
looked() { [ -n "$(ls $place/sessions 2>/dev/null)" ]; }
another() { [ "$(process)" != "$1" ]; }
# A result, over NFS and from the mount.
same() {
    local path
    path=$(cd $place && find sessions -name '*.mp4' | head -n 1)
    [ -n "$path" ]
    [ "$(nfs-cat "$(url "$path")" | sha256sum)" = "$(sha256sum <"$place/$path")" ]
}

booted() {
    : Both are there after the boot, whatever started first, without anybody who looked.
    eventually listed
    mounted
    same

    : Stopped for a while, and started: ganesha goes and comes with it.
    before=$(process)
    systemctl stop $mount
    eventually gone systemctl is-active -q $ganesha
    gone mounted
    systemctl start $mount
    eventually listed
    [ "$(process)" != "$before" ]
    same

    : Restarted.
    before=$(process)
    systemctl restart $mount
    eventually listed
    eventually another "$before"
    eventually listed
    same

    : The mount crashes. Whoever looks next gets it anew, and ganesha after it.
    before=$(process)
    kill -9 "$(mounts_process)"
    eventually gone systemctl is-active -q $ganesha
    eventually looked
    eventually listed
    [ "$(process)" != "$before" ]
    same

    : ganesha crashes: the mount stays, and holds it up.
    before=$(process)
    kill -9 "$before"
    eventually listed
    [ "$(process)" != "$before" ]
    mounted
    same
}

trap tell EXIT
"$1"
