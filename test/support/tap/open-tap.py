"""Opens a TAP interface, which Node cannot (it has no ioctl), and becomes another program that has it as descriptor 3."""
import fcntl, os, struct, sys

name, header, blocking, *program = sys.argv[1:]
TUNSETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD = 0x400454CA, 0x400454D8, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
CSUM_TSO4_TSO6_ECN = 0x0F

fd = os.open("/dev/net/tun", os.O_RDWR | (0 if blocking == "blocking" else os.O_NONBLOCK))
fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if header != "0" else 0)))
if header != "0":
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", int(header)))
    fcntl.ioctl(fd, TUNSETOFFLOAD, CSUM_TSO4_TSO6_ECN)
os.dup2(fd, 3)
os.set_inheritable(3, True)
os.execvp(program[0], program)
