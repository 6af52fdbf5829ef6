#!/bin/busybox sh
# refuses.sh WORD...: passes if the command ends by itself with a failure, and tells why in one line that names the kernel.
timeout 30 "$@" 2>/tmp/said
code=$?
cat /tmp/said
lines=$(grep -c . /tmp/said)
case $code in
0) echo "it did not refuse" && exit 1 ;;
# 101 is a Rust panic, 124 and up are the time limit and signals.
101 | 12[4-9] | 1[3-9]? | 2??) echo "it did not refuse by itself: exit code $code" && exit 1 ;;
esac
[ "$lines" = 1 ] || { echo "it said $lines lines where one sentence was wanted" && exit 1; }
grep -qi kernel /tmp/said || { echo "its sentence does not speak of the kernel" && exit 1; }
echo "REFUSED $(cat /tmp/said)"
