/** What travels in a chain: a request with a sequence number and a pattern, and an answer that only follows from them. Lengths are in 32-bit words. */

/** Words of a request and of the room for its answer, at most. */
export const mostWords = 16

/** Mixes a sequence number with the seed of the run. */
export function mix(sequence, seed) {
  let x = (sequence + 1) ^ seed
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d)
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b)
  return (x ^ (x >>> 16)) >>> 0
}

/** Writes a request: the sequence number, then the pattern. */
export function writeRequest(target, at, count, sequence, pattern) {
  target[at] = sequence
  for (let i = 1; i < count; i++) target[at + i] = pattern + i
}

/** Says what is wrong with a request, if anything is. */
export function checkRequest(source, count, sequence, pattern) {
  if (source[0] !== sequence) return `the request has the number ${source[0]}, ${sequence} is next`
  for (let i = 1; i < count; i++) {
    if (source[i] !== (pattern + i) >>> 0)
      return `request ${sequence}: word ${i} of ${count} is 0x${hex(source[i])}, not 0x${hex((pattern + i) >>> 0)}`
  }
  return undefined
}

/** How many words of the room the answer takes. */
export function answerLength(room, pattern) {
  return room - (pattern % (room + 1))
}

export function writeAnswer(target, count, pattern) {
  for (let i = 0; i < count; i++) target[i] = ~pattern ^ i
}

/** What lies in the room before the device has answered. */
export const untouched = 0xeeeeeeee

/** Says what is wrong with an answer, if anything is. */
export function checkAnswer(source, at, room, count, sequence, pattern) {
  for (let i = 0; i < room; i++) {
    const due = i < count ? (~pattern ^ i) >>> 0 : untouched
    if (source[at + i] !== due) return `answer ${sequence}: word ${i} of ${count} in ${room} is 0x${hex(source[at + i])}, not 0x${hex(due)}`
  }
  return undefined
}

function hex(value) {
  return (value >>> 0).toString(16).padStart(8, '0')
}
