/** For `describe.each`: what holds for a queue whatever the format of its ring. */
export const ringFormats = [
  { format: 'split', packed: false },
  { format: 'packed', packed: true },
] as const
