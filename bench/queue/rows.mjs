// The rows of the benchmark: what is measured, under which heading.
import { formats } from './library.mjs'

const counts = [1, 2, 4, 16]
const payloads = [0, 64, 4096]

function everyShape(of) {
  return formats.flatMap((format) => counts.flatMap((n) => payloads.map((payload) => ({ format, n, payload, ...of }))))
}

function shapes(variant, of, { only = formats, ns = [1, 4], sizes = [64] } = {}) {
  return only.flatMap((format) => ns.flatMap((n) => sizes.map((payload) => ({ format, n, payload, variant, role: 'device', corked: true, ...of }))))
}

/** @returns {{heading: string, rows: object[]}[]} */
export function sections() {
  return [
    { heading: 'device, one publish per batch', rows: everyShape({ role: 'device', corked: true }) },
    { heading: 'device, each chain published', rows: everyShape({ role: 'device', corked: false, note: 'each' }) },
    {
      heading: 'device, one publish per batch, further',
      rows: [
        ...shapes('two regions', { twoRegions: true }, { sizes: [0, 64] }),
        ...shapes('indirect', { indirect: true }, { ns: [1, 4, 16], sizes: [0, 64] }),
        ...shapes('shuffled', { shuffled: true }, { ns: [1, 4, 16], sizes: [0, 64] }),
        ...shapes('event index', { eventIndex: true }, { sizes: [0, 64] }),
        ...shapes('event index, each', { eventIndex: true, corked: false }, { sizes: [0, 64] }),
        ...shapes('write hook', { hook: true }, { sizes: [0, 64] }),
        ...shapes('in order', { inOrder: true }, { sizes: [0, 64] }),
        ...shapes('written by device', { writable: true }, { sizes: [64, 4096] }),
      ],
    },
  ]
}

/** `virtgen split`, and what is special about the row. */
export function labelOf({ format, variant, note }) {
  return ['virtgen', format, variant ?? note ?? ''].join(' ').trimEnd()
}
