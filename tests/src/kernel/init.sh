#!/bin/busybox sh
# First process of the guest: finds the machine's files and puts a layer in memory above them.

give_up() {
  echo "guest: $1"
  poweroff -f
}

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# Lines end as on any other terminal or file.
stty -onlcr </dev/console

for module in /modules/*; do
  insmod "$module" || give_up "cannot load $module"
done
# The machine's files do not change under a test run, so what was read once may be kept.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 machine /host ||
  give_up "cannot mount the machine's files"
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root ||
  give_up "cannot put a layer above the machine's files"
for folder in dev proc sys; do
  mount --move /$folder /root/$folder
done
mount -t tmpfs run /root/run
cp /ring.sh /root/run/ring.sh
exec switch_root /root /bin/sh /run/ring.sh
