// The rows of the benchmark: what is measured, under which heading.
import { deviceRow } from './device-rows.mjs'
import { driverRow, roundTripRow } from './driver-rows.mjs'
import { formats } from './library.mjs'

const counts = [1, 2, 4, 16]
const payloads = [0, 64, 4096]

/** A row for each format, number of descriptors and payload. */
function grid(of, { only = formats, ns = counts, sizes = payloads } = {}) {
  return only.flatMap((format) => ns.flatMap((n) => sizes.map((payload) => ({ format, n, payload, ...of }))))
}

const few = { ns: [1, 4], sizes: [0, 64] }
const further = { make: deviceRow, publish: 'batch' }
const driver = { make: driverRow, role: 'driver', publish: 'batch' }
const roundTrip = { make: roundTripRow, role: 'both', publish: 'batch' }

/**
 * `publish`: when what a device has used becomes visible. `batch`: together, with one notification; `each`: at once, with one notification for all; `notified`: at once, with
 * the question for each whether the driver wants to be notified.
 *
 * @returns {{heading: string, rows: object[]}[]} rows with what is special about them in `variant`
 */
export function sections() {
  return [
    { heading: 'device, one publish per batch', rows: grid({ make: deviceRow, publish: 'batch' }) },
    { heading: 'device, each chain published, one notification per batch', rows: grid({ make: deviceRow, publish: 'each', note: 'each' }) },
    { heading: 'device, each chain published and notified of', rows: grid({ make: deviceRow, publish: 'notified', note: 'notified' }) },
    {
      heading: 'device, one publish per batch, other conditions',
      rows: [
        ...grid({ ...further, variant: 'two regions', twoRegions: true }, few),
        ...grid({ ...further, variant: 'indirect', indirect: true }, { ns: [1, 4, 16], sizes: [0, 64] }),
        ...grid({ ...further, variant: 'shuffled', shuffled: true }, { ns: [1, 4, 16], sizes: [0, 64] }),
        ...grid({ ...further, variant: 'event index', eventIndex: true }, few),
        ...grid({ ...further, variant: 'event index, notified', eventIndex: true, publish: 'notified' }, few),
        ...grid({ ...further, variant: 'write hook', hook: true }, few),
        ...grid({ ...further, variant: 'in order', inOrder: true }, few),
        ...grid({ ...further, variant: 'device writes', writable: true }, { ns: [1, 4], sizes: [64, 4096] }),
      ],
    },
    {
      heading: 'driver: add, publish once, take back',
      rows: [
        ...grid({ ...driver, variant: 'driver' }, { sizes: [0] }),
        ...grid({ ...driver, variant: 'driver, event index', eventIndex: true }, { ns: [1, 4], sizes: [0] }),
        ...grid({ ...driver, variant: 'driver, indirect', indirect: true }, { ns: [4, 16], sizes: [0] }),
        ...grid({ ...driver, variant: 'driver, no room for tables', indirect: true, tables: false }, { ns: [4], sizes: [0] }),
        ...grid({ ...driver, variant: 'driver, in order', inOrder: true }, { ns: [1, 4], sizes: [0] }),
      ],
    },
    {
      heading: 'round trip: driver adds, device copies and completes, driver takes back',
      rows: [...grid({ ...roundTrip, variant: 'round trip' }), ...grid({ ...roundTrip, variant: 'round trip, event index', eventIndex: true }, few)],
    },
  ]
}

/** `virtgen split`, and what is special about the row. */
export function labelOf({ format, variant, note }) {
  return ['virtgen', format, variant ?? note ?? ''].join(' ').trimEnd()
}
