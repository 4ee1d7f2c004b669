
# With the machine's files as root. Above stand the settings, and the test program with its arguments as
# positional parameters.

end() {
  echo "$1" >/dev/ttyS1
  "$BUSYBOX" poweroff -f
}

mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
ip link set lo up

# The kernel asks for modules by itself, by way of a program that the machine may not have.
mkdir -p /lib/modules /run/modules
ln -sfn "$MODULES" "/lib/modules/$(uname -r)"
ln -s "$BUSYBOX" /run/modules/modprobe
echo /run/modules/modprobe >/proc/sys/kernel/modprobe
# This one nobody asks for, and nodes of a cluster have it.
/run/modules/modprobe br_netfilter

# What is tried here is done in a network that ends with it.
feature() {
  if unshare --net sh -ec "$2" >/dev/null 2>&1; then answer=yes; else answer=NO; fi
  features="$features, $1 $answer"
}
feature "VLAN filtering" 'ip link add bridge type bridge vlan_filtering 1; bridge vlan add dev bridge vid 7 self'
feature "SCTP" '/run/modules/modprobe sctp; test -d /proc/net/sctp'
feature "dummy" 'ip link add dummy type dummy'
feature "WireGuard" 'ip link add wireguard type wireguard'
feature "ifb" 'ip link add ifb type ifb'
feature "matchall" 'tc qdisc add dev lo clsact; tc filter add dev lo ingress matchall action drop'
echo "the guest is up after $(cut -d ' ' -f 1 /proc/uptime) s; ${features#, }"

"$@"
end "exit $?"
