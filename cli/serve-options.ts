/** The options of `virtgen serve`. */
import type { Option } from './command.ts'

/** Of one kind of device, or of all. */
export interface ServeOption extends Option {
  readonly group: 'all devices' | DeviceName
}

export const deviceNames = ['blk', 'net', 'rng'] as const
export type DeviceName = (typeof deviceNames)[number]

const of = (group: ServeOption['group'], options: readonly Option[]): ServeOption[] => options.map((option) => ({ ...option, group }))

export const serveOptions: readonly ServeOption[] = [
  ...of('all devices', [
    { name: 'socket', value: 'PATH', repeatable: true, summary: 'where the hypervisor connects to' },
    {
      name: 'connect',
      summary: 'connects to the socket, at which the hypervisor listens (server=on of QEMU), and again when the connection is lost',
    },
    { name: 'queues', value: 'N', summary: 'blk: queues that the driver may use, at most, 16 by default; net: pairs of queues, 1 by default' },
    {
      name: 'spin',
      value: 'MICROSECONDS',
      summary: 'looks for requests so long before it waits: faster, and busy; by default 20, but only where requests come in heaps; 0: never',
    },
    { name: 'worker', summary: 'the device has a thread of its own' },
    { name: 'metrics', value: 'PORT', summary: 'serves metrics for Prometheus at http://127.0.0.1:PORT/metrics; 0 takes any port that is free' },
    { name: 'json', summary: 'logs lines of JSON, for programs' },
  ]),
  ...of('blk', [
    { name: 'file', value: 'FILE', summary: 'the disk is a file, or a block device' },
    { name: 'overlay', value: 'FILE', summary: 'the same, but what is written stays in memory and is forgotten at the end' },
    { name: 'ram', value: 'BYTES', summary: 'the disk is memory of this process' },
    { name: 'null', value: 'BYTES', summary: 'the disk reads as zeroes and forgets what is written' },
    { name: 'size', value: 'BYTES', summary: 'of --file: it is made, or made longer, where it must; of --overlay: the size of the disk' },
    { name: 'readonly', summary: 'nothing can be written' },
    { name: 'async', summary: 'the file is read and written in other threads, several requests at a time' },
    { name: 'no-discard', summary: 'discarded ranges keep their room in the file' },
    { name: 'serial', value: 'TEXT', summary: 'up to 20 characters, for /sys/block/vda/serial' },
    { name: 'block-size', value: 'BYTES', summary: 'the best size of requests, a power of 2 from 512' },
  ]),
  ...of('net', [
    { name: 'passt', value: 'SOCKET', summary: 'the network is that of the host, by passt, which listens there' },
    { name: 'stream', value: 'SOCKET', summary: "waits there for the other end, such as QEMU's -netdev stream" },
    { name: 'tap', value: 'NAME', summary: 'the network is a TAP interface of the host' },
    { name: 'gateway', summary: 'the network has a gateway alone: DHCP, ping, names; no TCP' },
    { name: 'link', summary: 'the network is the guests of all sockets' },
    { name: 'echo', summary: 'every frame comes back' },
    { name: 'sink', summary: 'every frame is counted and dropped' },
    { name: 'mac', value: 'ADDRESS', summary: 'such as 52:54:00:12:34:56; for front-ends that ask for it. QEMU has its own: mac= of -device' },
    { name: 'mtu', value: 'BYTES', summary: 'the largest packet; 68 to 65535. With QEMU, -device has host_mtu= too' },
  ]),
  ...of('rng', [{ name: 'rate', value: 'BYTES', summary: 'per second, at most' }]),
]
