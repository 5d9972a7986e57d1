/** What QEMU itself says of its virtio device. */
import type { QemuMachine } from './machine.ts'

interface Answer {
  readonly status: { readonly statuses: readonly string[] }
  readonly 'guest-features': { readonly 'dev-features': readonly string[]; readonly transports: readonly string[] }
}

/** Names of the status bits that are set and of the negotiated features, as the specification has them, sorted. Of the machine's one virtio device. */
export function virtioStatus(machine: QemuMachine): { status: string[]; features: string[] } {
  const [path] = machine.info('virtio').trim().split(' ')
  const { status, ...answer } = machine.query('x-query-virtio-status', { path }) as Answer
  const { 'dev-features': own, transports } = answer['guest-features']
  return {
    status: status.statuses.map((line) => name(line).replace('VIRTIO_CONFIG_S_', '')).sort(),
    features: [...own, ...transports].map((line) => name(line).replace('VIRTIO_RING_F_', 'VIRTIO_F_')).sort(),
  }
}

/** Each line is a name and what it means. */
function name(line: string): string {
  return line.split(':')[0] as string
}
