/** What a network device has counted since it was made. */
export interface NetStatistics {
  /** From the guest; segments are counted as the guest sent them, uncut. */
  readonly transmittedFrames: number
  readonly transmittedBytes: number
  /** From the guest, and not sent: the link was down, the backend failed, or the frame was none. */
  readonly transmitDropped: number
  /** To the guest. */
  readonly receivedFrames: number
  readonly receivedBytes: number
  /** For the guest, and dropped: no driver, the link down, too much waiting, too long, or no frame. */
  readonly receiveDropped: number
  /** For the guest, which has not asked for them. */
  readonly filtered: number
}

export type Counters = { -readonly [name in keyof NetStatistics]: number }

/** Nothing counted yet. */
export function newCounters(): Counters {
  return {
    transmittedFrames: 0,
    transmittedBytes: 0,
    transmitDropped: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    receiveDropped: 0,
    filtered: 0,
  }
}
