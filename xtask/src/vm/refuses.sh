#!/bin/busybox sh
# refuses.sh WORD...: passes if the command ends by itself with a failure, and tells why in one line that names the kernel.
# Prints REFUSED and that line, or VMPROBLEM and what was wrong.
timeout 30 "$@" 2>/tmp/said
code=$?
cat /tmp/said
lines=$(grep -c . /tmp/said)

wrong() {
    echo "VMPROBLEM $*"
    exit 1
}

case $code in
0) wrong "it did not refuse" ;;
# 101 is a Rust panic, 124 and up are the time limit and signals.
101 | 12[4-9] | 1[3-9]? | 2??) wrong "it did not refuse by itself: exit code $code" ;;
esac
[ "$lines" = 1 ] || wrong "it said $lines lines where one sentence was wanted"
grep -qiE 'kernel|linux' /tmp/said || wrong "its sentence does not speak of the kernel"
echo "REFUSED $(cat /tmp/said)"
