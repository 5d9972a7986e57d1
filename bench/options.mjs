// Options of the programs that measure and test: what is wrong with them is said in a line, above the usage, and the program ends with 2.
import { parseArgs } from 'node:util'

/** The options of the command line, besides `--help`. */
export function readOptions(usage, options) {
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: 'boolean' } } })
    if (!values.help) return values
  } catch (error) {
    refuse(error.message, usage)
  }
  console.log(usage)
  process.exit(0)
}

/** Ends the program. */
export function refuse(message, usage) {
  console.error(`${message}\n\n${usage}`)
  process.exit(2)
}

/** The number that an option gives. */
export function wholeNumber(values, name, usage, least = 1) {
  const value = Number(values[name])
  if (!(Number.isSafeInteger(value) && value >= least)) refuse(`--${name} takes a whole number from ${least}, not ${values[name]}`, usage)
  return value
}
