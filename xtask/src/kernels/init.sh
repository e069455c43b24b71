#!/bin/busybox sh
# The first process of a guest: mounts what a program expects, runs the checks on the second serial line, and ends.
# By its name until /proc is there, through which busybox finds itself.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
export PATH=/bin:/sbin
insmod /veth.ko
busybox sh /checks.sh /gatepost >/dev/ttyS1 2>&1 </dev/null
poweroff -f
