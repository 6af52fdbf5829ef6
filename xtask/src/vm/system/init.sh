#!/bin/busybox sh
# The first process of a guest with a disk: loads modules, which the system on it does not have, and hands over.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    insmod "$module" || echo "VMPROBLEM the kernel refused $module"
done
mkdir -p /root
mount -t ext4 /dev/vda /root || {
    echo "VMPROBLEM the disk cannot be mounted"
    echo "VMRESULT=1"
    poweroff -f
}
umount /proc
umount /sys
mount --move /dev /root/dev
exec switch_root /root /lib/systemd/systemd
