#!/bin/sh
# The test of one boot: says on the console what the host reads (see vm/init.sh), and powers off.
boot=$(cat /boot-number 2>/dev/null || echo 1)
echo $((boot + 1)) >/boot-number
case $boot in
1) name=first_boot ;;
*) name=second_boot ;;
esac
# The firmware, or systemd, left the cursor in the middle of a line.
echo
echo "VMUSERSPACE $(cut -d' ' -f1 /proc/uptime)"
systemctl is-system-running --wait >/tmp/state 2>&1
echo "system: $(cat /tmp/state) at $(cut -d' ' -f1 /proc/uptime)"
systemctl --failed --no-legend --plain --no-pager
echo "VMCOMMAND $name"
/test --include-ignored --exact --nocapture --test-threads=1 "$name" </dev/null
code=$?
echo
echo "VMEXIT $code"
if [ $code != 0 ]; then
    echo "the end of the service's log:"
    journalctl --unit=nodewall --no-pager --output=short-monotonic --lines=60
fi
dmesg -n 1
sync
echo "VMRESULT=$code"
# Orderly, so that the next boot finds what was written.
systemctl poweroff
