/** Taking a buffer away from all who hold views of it. */
import * as v8 from 'node:v8'
import * as vm from 'node:vm'

type Transfer = (this: ArrayBuffer, length: number) => ArrayBuffer

let transfer: Transfer | undefined

/**
 * Detaches a buffer: all of its views get length 0, so that nobody can touch the memory any more.
 *
 * @returns false where this engine cannot
 */
export function detach(buffer: ArrayBuffer): boolean {
  try {
    transfer ??= (ArrayBuffer.prototype as { transfer?: Transfer }).transfer ?? hiddenTransfer()
    transfer.call(buffer, 0)
  } catch {
    return false
  }
  return buffer.byteLength === 0
}

/** Node 20 has `transfer` behind a flag, which counts for contexts made after it was set. */
function hiddenTransfer(): Transfer {
  v8.setFlagsFromString('--harmony-rab-gsab-transfer')
  return vm.runInNewContext('ArrayBuffer.prototype.transfer') as Transfer
}
