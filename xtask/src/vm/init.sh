#!/bin/busybox sh
# The first process of a guest: mounts, loads modules, runs /payload.sh, says how it went, powers off.
# What the host reads: VMUSERSPACE, VMPROBLEM, VMCOMMAND, VMEXIT and VMRESULT= at the start of a line.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root TERM=dumb
result=0

# problem WORDS: something that the payload counts on is not there; the run cannot pass.
problem() {
    echo "VMPROBLEM $*"
    result=1
}

# run NAME WORD...: one command of the payload, its start and its exit code on lines of their own.
run() {
    name=$1
    shift
    echo "VMCOMMAND $name"
    "$@" </dev/null
    code=$?
    # The command may have left the cursor in the middle of a line.
    echo
    echo "VMEXIT $code"
    [ "$code" = 0 ] || result=$code
}

mount -t proc proc /proc || problem "no /proc"
mount -t sysfs sys /sys || problem "no /sys"
mount -t devtmpfs dev /dev || problem "no /dev"
mount -t tmpfs tmp /tmp || problem "no /tmp"
mount -t tmpfs run /run || problem "no /run"
mount -t bpf bpf /sys/fs/bpf || problem "no BPF file system"
mount -t cgroup2 cgroup /sys/fs/cgroup || problem "no cgroup file system"
mkdir /dev/pts && mount -t devpts pts /dev/pts
mount -t tracefs trace /sys/kernel/tracing || problem "no tracefs"
ln -s /proc/self/fd /dev/fd
for module in /modules/*.ko; do
    [ -e "$module" ] || continue
    insmod "$module" || problem "the kernel refused $module"
done
ip link set lo up || problem "lo does not come up"
# Before 5.11 the memory of BPF maps counts against this limit.
ulimit -l unlimited

# The firmware left the cursor in the middle of a line.
echo
echo "VMUSERSPACE $(cut -d' ' -f1 /proc/uptime)"
. /payload.sh

# Nothing but a panic may break into the line that is judged.
dmesg -n 1
echo "VMRESULT=$result"
sync
poweroff -f
