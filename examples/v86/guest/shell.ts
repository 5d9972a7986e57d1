/** The guest of the example: a shell on the virtio console. */

/** What the disk calls itself that is empty and in memory: the guest makes a file system on it. */
export const scratchSerial = 'virtgen-scratch'

/** Blocks of 4096 bytes make a fourth of the requests that the 1024 of such a small disk would. */
const init = `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /root /run; mount -t devpts devpts /dev/pts
for m in $(cat /modules/order); do insmod /modules/$m.ko; done
echo 4 > /proc/sys/kernel/printk
hostname virtgen
echo '127.0.0.1 localhost virtgen' > /etc/hosts
[ "$(cat /sys/block/vda/serial)" != ${scratchSerial} ] || mke2fs -b 4096 /dev/vda > /dev/null
mount /dev/vda /mnt 2> /dev/null
ip link set lo up; ip link set eth0 up
udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/dhcp-script > /dev/null 2>&1
# Who leads a session and opens a terminal has it: Ctrl-C and job control need that.
setsid sh -c 'exec sh -l < /dev/hvc0 > /dev/hvc0 2>&1'
umount /mnt 2> /dev/null
poweroff -f
`

const profile = `export PS1='virtgen:\\w# ' TERM=xterm HOME=/root
cd
mounted=$(while read device path type rest; do [ $device != /dev/vda ] || echo " on $path ($type)"; done < /proc/mounts)
address=$(ip -4 addr show eth0 | sed -n 's/.*inet \\([^ ]*\\).*/\\1/p')
router=$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')
# The gateway of the example has names, others have none.
[ "$router" != 10.0.2.2 ] || router=gateway
size=$(stty size 2> /dev/null)
cat << END

$(uname -sr) in v86, with virtgen's devices:
  console  /dev/hvc0   this terminal\${size:+, \${size#* } x \${size% *}}
  blk      /dev/vda    $(($(cat /sys/block/vda/size) / 2048)) MiB$mounted
  net      eth0        \${address:-no address}; try: ping -c 3 $router
  rng      /dev/hwrng  $(cat /sys/class/misc/hw_random/rng_current); try: head -c 16 /dev/hwrng | hexdump -C

END
`

const dhcp = `#!/bin/sh
case $1 in
bound|renew)
  ip addr flush dev $interface
  ip addr add $ip/$mask dev $interface
  ip route add default via \${router%% *}
  for server in $dns; do echo nameserver $server; done > /etc/resolv.conf ;;
deconfig) ip link set $interface up ;;
esac
`

export const shellFiles: Readonly<Record<string, string>> = { init, 'etc/profile': profile, 'etc/dhcp-script': dhcp }
