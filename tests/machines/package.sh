# On a bare Debian, as root: installs the package that lies beside, uses it, purges it. Ends at the first thing wrong.
package=$(echo ./axxon-exportfs_*.deb)
export DEBIAN_FRONTEND=noninteractive

# What is on this machine, but for logs, caches, dpkg's own books, and what users have at home.
everything() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root -o -path /home \
        -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt \) -prune -o -print | sort
}
ended() { for _ in $(seq 100); do "$@" || return 0; sleep 0.1; done; return 1; }
mounted() { grep -q "fuse.axxon-exportfs" /proc/self/mountinfo; }
running() { pgrep -f "axxon-exportfs mount" >/dev/null; }

apt-get update -qq
apt-get install -y -qq --no-install-recommends fuse3 >/dev/null
everything >/tmp/before

apt-get install -y --no-install-recommends "$package"
if command -v gcc || command -v pip3; then exit 1; fi
[ "$(dpkg-query -W -f '${Status}' axxon-exportfs)" = "install ok installed" ]
axxon-exportfs --version
for file in /sbin/mount.fuse.axxon-exportfs /usr/lib/systemd/system/axxon-exportfs@.service \
    /usr/lib/systemd/user/axxon-exportfs@.service /usr/share/bash-completion/completions/axxon-exportfs \
    /usr/share/zsh/vendor-completions/_axxon-exportfs /usr/share/fish/vendor_completions.d/axxon-exportfs.fish; do
    [ -s "$file" ]
done
grep -q '^ExecStart="*/usr/bin/axxon-exportfs' /usr/lib/systemd/system/axxon-exportfs@.service

axxon-exportfs simulate --insecure --port 20110 --sessions 1 --json >/tmp/simulator 2>&1 &
simulator=$!
for _ in $(seq 300); do [ -s /tmp/simulator ] && break; kill -0 $simulator; sleep 0.1; done

# By root, as fstab has it.
export EXPORTFS_PASSWORD=demo # the simulator's
mkdir -p /mnt/vms
mount -t fuse.axxon-exportfs 127.0.0.1:20110 /mnt/vms -o insecure,username=demo 2>/tmp/err || { cat /tmp/err; exit 1; }
if [ -s /tmp/err ]; then cat /tmp/err; exit 1; fi
ls /mnt/vms/sessions/*/*
cat /mnt/vms/sessions/*/*.* | wc -c
umount /mnt/vms
ended running
rmdir /mnt/vms

# By a user, with the commands.
cat >/tmp/as-ana <<'END'
set -eux
cd; mkdir vms
axxon-exportfs mount 127.0.0.1:20110 vms --insecure --user demo 2>err || { cat err; exit 1; }
if [ -s err ]; then cat err; exit 1; fi
axxon-exportfs status
cp -r vms/sessions copied
axxon-exportfs umount vms
rm -r vms copied err
END
su ana -c 'sh /tmp/as-ana'
ended running
if mounted; then exit 1; fi
kill $simulator
wait $simulator || true

# Without the program, configuration and journals are kept, for the next one; a purge removes both, and no user's.
(umask 077; mkdir -p /etc/axxon-exportfs /var/lib/axxon-exportfs; echo secret >/etc/axxon-exportfs/hq.password)
apt-get remove -y axxon-exportfs
if [ -e /usr/lib/axxon-exportfs ]; then exit 1; fi
[ -s /etc/axxon-exportfs/hq.password ]
[ -d /var/lib/axxon-exportfs ]
apt-get purge -y axxon-exportfs
[ -d /home/ana/.local/state/axxon-exportfs ]
if dpkg-query -W axxon-exportfs 2>/dev/null; then exit 1; fi
everything >/tmp/after
diff /tmp/before /tmp/after
if pgrep -fa axxon-exportfs; then exit 1; fi
