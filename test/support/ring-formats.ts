/** For `describe.each`: what holds for a queue whatever the format of its ring. */
export const ringFormats = [
  { format: 'split', packed: false },
  { format: 'packed', packed: true },
] as const

/** The same for a queue that is new and for one that has served others (see `warm`): it reads chains in another way. */
export const queueStates = ringFormats.flatMap((format) => [
  { ...format, state: 'new', isWarm: false },
  { ...format, state: 'used', isWarm: true },
])
