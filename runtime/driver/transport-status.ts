/** The device status, as a driver uses it. VIRTIO 1.4, Basic Facilities of a Virtio Device / Device Status Field. */
import { DriverError } from './host.ts'
import { becomesTrue, type DriverTransport, type Patience } from './transport.ts'

/** Sets a bit besides those that are set: the driver MUST NOT clear one. */
export function setStatus(transport: DriverTransport, bit: number): void {
  transport.status |= bit
}

/**
 * Resets the device and waits until that is done: the driver SHOULD consider a reset complete when it reads device status as 0.
 *
 * @throws DriverError `reset` when it is not after so many looks
 */
export async function resetDevice(transport: DriverTransport, patience: Patience): Promise<void> {
  transport.status = 0
  if (await becomesTrue(() => transport.status === 0, patience)) return
  throw new DriverError('reset', `the device does not come back from a reset: its status is ${transport.status} after ${patience.polls} looks`)
}
